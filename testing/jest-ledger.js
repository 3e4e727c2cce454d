import { appendFileSync } from "node:fs";

/**
 * A jest reporter that writes down each file as it starts and ends, one JSON object a line, so that a run that hangs or is
 * killed still tells what passed and which files never came to their end.
 */
export default class Ledger {
  constructor(_config, { file }) {
    this.file = file;
  }

  onTestFileStart(test) {
    this.write({ started: test.path });
  }

  onTestFileResult(test, result) {
    const { numPassingTests, numFailingTests, numPendingTests, numTodoTests, testExecError } = result;
    // A file that could not be loaded, or that holds no test, fails as a whole and has no failed test to count.
    const broken = numFailingTests === 0 && (testExecError != null || result.failureMessage != null) ? 1 : 0;
    this.write({ ended: test.path, passed: numPassingTests, failed: numFailingTests + broken, skipped: numPendingTests + numTodoTests });
  }

  onRunComplete() {
    this.write({ complete: true });
  }

  write(line) {
    appendFileSync(this.file, `${JSON.stringify(line)}\n`);
  }
}

/** A failure that is the user's to mend: its text is all that is shown. */
export class UserError extends Error {}

/** What is shown of a failure: our own words, or the stack of what is a bug of ours. */
export function failureText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof UserError || error.message.startsWith("WEFT_") || "code" in error
    ? error.message
    : (error.stack ?? error.message);
}

/** What one load did. */
export interface LoadResult {
  readonly done: number;
  readonly seconds: number;
}

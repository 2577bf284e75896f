/**
 * Every kind of hint, by what it tells the user to do. docs/reliability.md shows this table. A unit test compares both with the sources
 * and fails for a hint without a kind.
 */
export interface HintKind {
  kind: string;
  /** Matches hints of this kind. The first matching kind counts. */
  says: RegExp;
  /** Test files that cause the fault. */
  tests: string[];
  /**
   * followed: a test does exactly what the hint says and checks that it helps. told: a test causes the fault and checks the text.
   * reads: the hint only says what to look at or what to write instead.
   */
  how: 'followed' | 'told' | 'reads';
  /** Why no test follows it. */
  why?: string;
}

/** Paths of end-to-end tests. */
export const e2e = (...names: string[]): string[] => names.map((name) => `test/e2e/${name}.test.ts`);

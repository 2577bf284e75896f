import { Composer, type CST, isScalar, Lexer, LineCounter, type ParsedNode, Parser, visit } from 'yaml';

/** Reads YAML that a stranger may have written: what it takes of time, memory and stack is bounded. */

const maxDepth = 64;
const maxLexemes = 60_000;
/** A key is compared with every other one of its mapping. */
const maxComparisons = 1_000_000;
/** A handful of aliases is honest use; thousands are a bomb. */
const maxAliases = 50;

export interface YamlProblem {
  /** May quote the text. */
  reason: string;
  /** Never quotes the text. */
  kind: string;
  /** Where it is, as ` at line 3, column 7`; empty where nobody can tell. */
  place: string;
}

/** One YAML document as plain values. */
export function readYaml(text: string): { value: unknown; problem?: undefined } | { problem: YamlProblem } {
  const lines = new LineCounter();
  lines.addNewLine(0);
  const problemAt = (reason: string, kind: string, offset?: number): { problem: YamlProblem } => {
    const { line, col } = offset === undefined ? { line: 0, col: 0 } : lines.linePos(offset);
    return { problem: { reason, kind, place: line === 0 ? '' : ` at line ${line}, column ${col}` } };
  };
  try {
    const { tokens, excess, offset } = takeApart(text, lines);
    if (excess !== undefined) return problemAt(excess, excess, offset);
    let comparisons = 0;
    const uniqueKeys = (a: ParsedNode, b: ParsedNode): boolean => {
      if (++comparisons > maxComparisons) throw new RangeError('a mapping in it has too many keys');
      return a === b || (isScalar(a) && isScalar(b) && a.value === b.value);
    };
    const [document, second] = new Composer({ uniqueKeys, logLevel: 'silent' }).compose(tokens, true, text.length);
    if (document === undefined) return { value: null };
    if (second !== undefined) return problemAt('it holds more than one document', 'more than one document', second.range[0]);
    // A tag that nobody knows is only warned of, and its value taken for something else.
    const [error] = [...document.errors, ...document.warnings];
    if (error !== undefined)
      return problemAt(error.message.split('\n')[0] ?? '', error.code.toLowerCase().replaceAll('_', ' '), error.pos[0]);
    // Those who read the values next leave such a key out without a word.
    visit(document, (key, node) => {
      if (key === 'key' && isScalar(node) && node.value === '__proto__')
        throw new Error('it has a key __proto__, which nothing can be called');
    });
    return { value: document.toJS({ maxAliasCount: maxAliases }) };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return problemAt(reason, /alias/i.test(reason) ? 'an alias names nothing, or there are too many of them' : 'it cannot be read');
  }
}

/** The library puts together by recursion what it took apart, and a stack that ends in the middle of that can end the process. */
function takeApart(text: string, lines: LineCounter): { tokens: CST.Token[]; excess?: string; offset?: number } {
  const parser = new Parser(lines.addNewLine);
  const tokens: CST.Token[] = [];
  let lexemes = 0;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) tokens.push(token);
    if (++lexemes > maxLexemes) return { tokens, excess: 'it has too many parts', offset: parser.offset };
    if (parser.stack.length > maxDepth) return { tokens, excess: `it is nested more than ${maxDepth} levels deep`, offset: parser.offset };
  }
  for (const token of parser.end()) tokens.push(token);
  return { tokens };
}

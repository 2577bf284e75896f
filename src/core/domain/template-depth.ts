import Handlebars from 'handlebars';

/** Handlebars' lexer, which is missing in its types. It distinguishes blocks from else, comments, and text that looks like a block. */
const { lexer, terminals_: tokenNames } = (
  Handlebars as unknown as {
    Parser: { lexer: { setInput(source: string, shared: object): void; lex(): number }; terminals_: Record<number, string> };
  }
).Parser;

const maxDepth = 100;

function* tokensOf(source: string): Generator<string> {
  lexer.setInput(source, {});
  for (let name = ''; name !== 'EOF'; ) {
    name = tokenNames[lexer.lex()] ?? '';
    yield name;
  }
}

/**
 * Handlebars needs quadratic time to parse nested blocks, and nests else-if blocks.
 * @throws Error that names what is too deep
 */
export function assertDepth(source: string): void {
  let depth = 0;
  let chained = 0;
  let brackets = 0;
  for (const token of tokensOf(source)) {
    if (token === 'OPEN_SEXPR') brackets++;
    else if (token.startsWith('CLOSE') && token !== 'CLOSE_SEXPR' && token !== 'CLOSE_BLOCK_PARAMS') brackets = 0;
    else if (token === 'OPEN_ENDBLOCK') depth--;
    else if (token === 'OPEN_INVERSE_CHAIN') chained++;
    else if (token === 'OPEN_BLOCK' || token === 'OPEN_INVERSE' || token === 'OPEN_PARTIAL_BLOCK') depth++;
    if (brackets > maxDepth) throw new Error(`an expression in it has more than ${maxDepth} brackets`);
    if (depth > maxDepth || chained > 10 * maxDepth) throw new Error(`its blocks are nested more than ${maxDepth} levels deep`);
  }
}

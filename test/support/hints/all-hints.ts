import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** A hint as written in the sources; inserted values are an ellipsis. */
export interface WrittenHint {
  file: string;
  text: string;
}

const source = fileURLToPath(new URL('../../../src', import.meta.url));

/** Every text in the sources that can become the hint of an error, a finding or a check. */
export function allHints(): WrittenHint[] {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.startsWith('ui/'),
  );
  return files.sort().flatMap((file) => {
    const tree = ts.createSourceFile(file, readFileSync(join(source, file), 'utf8'), ts.ScriptTarget.Latest, true);
    const texts = new Set<string>();
    visit(tree, false, texts);
    return [...texts].map((text) => ({ file, text }));
  });
}

/** Functions whose last argument is a hint. */
const refusals = /^(refuse|#note|#refuse)$/;

function visit(node: ts.Node, isHint: boolean, texts: Set<string>): void {
  const text = isHint ? textOf(node) : undefined;
  if (text !== undefined && text.length > 5) texts.add(text);
  const named = (name: ts.Node | undefined): boolean => name !== undefined && /hints?$/i.test(name.getText());
  const begins =
    (ts.isPropertyAssignment(node) || ts.isVariableDeclaration(node) || ts.isFunctionDeclaration(node) || ts.isMethodDeclaration(node)) &&
    (named(node.name) || /advice$|^hintFor/.test(node.name?.getText() ?? ''));
  const inside = isHint || begins;
  if (ts.isCallExpression(node)) {
    const callee = node.expression.getText().split('.').at(-1) ?? '';
    // Strings that a hint is compared with or split by are not hints.
    if (/^(includes|split|test|startsWith|endsWith|replace|join|localeCompare)$/.test(callee)) {
      visit(node.expression, inside, texts);
      return;
    }
    const last = refusals.test(callee) && node.arguments.length > 1 ? node.arguments.at(-1) : undefined;
    for (const argument of node.arguments) visit(argument, inside || argument === last, texts);
    visit(node.expression, inside, texts);
    return;
  }
  ts.forEachChild(node, (child) => visit(child, inside && !isCondition(node, child), texts));
}

function isCondition(parent: ts.Node, child: ts.Node): boolean {
  if (ts.isConditionalExpression(parent)) return parent.condition === child;
  if (ts.isIfStatement(parent)) return parent.expression === child;
  return ts.isBinaryExpression(parent) && parent.operatorToken.kind === ts.SyntaxKind.EqualsEqualsEqualsToken;
}

function textOf(node: ts.Node): string | undefined {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return node.head.text + node.templateSpans.map((span) => `…${span.literal.text}`).join('');
}

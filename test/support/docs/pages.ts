import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Parses documentation pages: headings, fenced blocks and commands. */

export const repository = fileURLToPath(new URL('../../..', import.meta.url));

export interface Block {
  page: string;
  line: number;
  /** `page#anchor` of the heading above it. */
  section: string;
  language: string;
  text: string;
}

export interface ShownCommand {
  text: string;
  /** The output on the page begins with "Error:". */
  fails: boolean;
}

/** Paths from the repository: README, CONTRIBUTING, docs and the READMEs of the examples. */
export const pages: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(`${repository}/docs`)
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
  'examples/README.md',
  ...readdirSync(`${repository}/examples`, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `examples/${name}/README.md`),
];

export const textOf = (page: string): string => readFileSync(`${repository}/${page}`, 'utf8');

/** GitHub's anchor of a heading. */
export function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .trim()
    .replaceAll(' ', '-');
}

export function anchorsOf(page: string): string[] {
  return [...textOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading));
}

/** Fenced blocks, and the prose between them. */
export function readPage(page: string): { blocks: Block[]; prose: { line: number; text: string }[] } {
  const blocks: Block[] = [];
  const prose: { line: number; text: string }[] = [];
  let section = page;
  let open: (Block & { fence: string }) | undefined;
  for (const [index, line] of textOf(page).split('\n').entries()) {
    const fence = /^\s*(`{3,})(\S*)/.exec(line);
    if (open !== undefined) {
      if (fence?.[1] === open.fence && fence[2] === '') {
        const { fence: _, ...block } = open;
        blocks.push(block);
        open = undefined;
      } else open.text += `${line}\n`;
    } else if (fence !== null) {
      open = { page, line: index + 1, section, language: fence[2] ?? '', text: '', fence: fence[1] ?? '' };
    } else {
      const heading = /^#+ (.*)$/.exec(line)?.[1];
      if (heading !== undefined) section = `${page}#${anchorOf(heading)}`;
      prose.push({ line: index + 1, text: line });
    }
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: the block has no end`);
  return { blocks, prose };
}

/** The command lines of a block, without comments; continued lines are joined. */
export function commandsOf({ language, text }: Block): ShownCommand[] {
  const lines = text.replace(/\\\n\s*/g, '').split('\n');
  if (language === 'sh') {
    return lines.map((line) => ({ text: withoutComment(line), fails: false })).filter((command) => command.text !== '');
  }
  if (language !== 'console') return [];
  const commands: ShownCommand[] = [];
  for (const line of lines) {
    const last = commands.at(-1);
    if (line.startsWith('$ ')) commands.push({ text: withoutComment(line.slice(2)), fails: false });
    else if (line.startsWith('Error:') && last !== undefined) last.fails = true;
  }
  return commands;
}

const withoutComment = (line: string): string => line.replace(/(^|\s)#\s.*$/, '').trim();

/** The arguments of each call of cowherd in a command line, as parsed by a shell. */
export function cowherdCalls(line: string): string[][] {
  const calls: string[][] = [[]];
  const words = line.matchAll(/[<>]\(|\)|&&|\|\|?|;|[<>]\s*[^\s(]+|((?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s;|&<>()'"\\])+)/g);
  for (const [token, word] of words) {
    if (word !== undefined)
      calls.at(-1)?.push(word.replace(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/g, (_, one, two, three) => one ?? two ?? three));
    else if (!/^[<>]\s*[^\s(]/.test(token)) calls.push([]);
  }
  return calls
    .filter((call) => call[0] === 'cowherd' || (call[0] === 'sudo' && call[1] === 'cowherd'))
    .map((call) => call.slice(call.indexOf('cowherd') + 1));
}

import { CowherdError } from '../core/errors.js';

const mostBytes = 1024 * 1024;

/** Reads standard input to its end. @throws BAD_USAGE for more than 1 MiB, and on a terminal */
export async function readStdin(): Promise<Uint8Array> {
  if (process.stdin.isTTY) {
    throw new CowherdError('BAD_USAGE', '--stdin cannot read from a terminal', {
      hint: "Redirect standard input: cowherd exec lab --stdin -- 'cat > /etc/motd' < motd",
    });
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > mostBytes) {
      throw new CowherdError('BAD_USAGE', 'Standard input is larger than 1 MiB', {
        hint: 'Copy it into the guests as a file first: cowherd cp FILE lab:/root/',
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

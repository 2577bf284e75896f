#!/usr/bin/env node
import { answerShell } from '../dist/cli/completion/fast.js';

const answer = answerShell(process.argv.slice(2));
if (answer === undefined) await (await import('../dist/cli/main.js')).main({ dir: import.meta.url });
else {
  process.stdout.on('error', ({ code, message }) => {
    // A closed pipe is not an error, as in every command.
    if (code === 'EPIPE') return;
    process.exitCode = 8;
    process.stderr
      .on('error', () => undefined)
      .write(`Error: The output could not be written: ${message}\n→ Make room where the output goes.\n`);
  });
  process.stdout.write(answer);
}

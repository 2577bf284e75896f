#!/usr/bin/env -S node --max-semi-space-size=4
// A run makes much that is gone at once: a small nursery keeps a verb over a thousand members small, and costs it no time.
import { answerShell } from '../dist/cli/completion/fast.js';

const answer = answerShell(process.argv.slice(2));
if (answer === undefined) await (await import('../dist/cli/main.js')).main({ dir: import.meta.url });
else {
  process.stdout.on('error', ({ code, message }) => {
    // A reader that has enough is no error, as for every verb.
    if (code === 'EPIPE') return;
    process.exitCode = 8;
    process.stderr
      .on('error', () => undefined)
      .write(`Error: The output could not be written: ${message}\n→ Make room where the output goes.\n`);
  });
  process.stdout.write(answer);
}

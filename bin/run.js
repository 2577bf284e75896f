#!/usr/bin/env -S node --max-semi-space-size=4
// A run makes much that is gone at once: a small nursery keeps a verb over a thousand members small, and costs it no time.
import { answerShell } from '../dist/completion/fast.js';

const answer = answerShell(process.argv.slice(2));
if (answer !== undefined) process.stdout.on('error', () => undefined).write(answer);
else await (await import('../dist/main.js')).main({ dir: import.meta.url });

#!/usr/bin/env -S node --max-semi-space-size=4
// A run makes much that is gone at once: a small nursery keeps a verb over a thousand members small, and costs it no time.
import { main } from '../dist/main.js';

await main({ dir: import.meta.url });

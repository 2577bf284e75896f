// Loaded before cowherd's own code: notes at the end how much memory the process took at most, in KiB.
import { appendFileSync } from 'node:fs';

process.on('exit', () => appendFileSync(process.env.CWT_USAGE, `${process.resourceUsage().maxRSS}\n`));

// Preloaded before cowherd: records the peak memory of the process in KiB at exit.
import { appendFileSync } from 'node:fs';

process.on('exit', () => appendFileSync(process.env.CWT_USAGE, `${process.resourceUsage().maxRSS}\n`));

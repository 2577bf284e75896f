/** A process that downloads a URL under its lock, for tests that need several or kill one: STORE URL [SHA256]. */
import { HttpDownloads } from '../../../src/adapters/download/downloads.js';

const [store = '', url = '', sha256] = process.argv.slice(2);
const downloads = new HttpDownloads(store, { verb: 'base pull' });
const onNote = (text: string): void => void process.stderr.write(`${text}\n`);
const result = await downloads.locked(url, () => downloads.fetch({ url, expected: { sha256 }, maxBytes: 1024 ** 3, onNote }), { onNote });
process.stdout.write(`${JSON.stringify(result)}\n`);

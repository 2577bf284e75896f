/** Preloaded into a run of cowherd (`node --import`): the disk fails whenever a file is synced. */
import { open } from 'node:fs/promises';

const handle = await open(process.execPath);
Object.getPrototypeOf(handle).sync = async () => {
  throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO', errno: -5, syscall: 'fsync' });
};
await handle.close();

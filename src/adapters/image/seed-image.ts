import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CowherdError } from '../../core/errors.js';
import type { Seed } from '../../core/guest/seed.js';
import { makeScratch } from '../host/scratch.js';
import { runTool } from '../process.js';

/** Each creates an ISO 9660 image with Joliet and Rock Ridge from a directory. */
const tools: Array<[command: string, ...args: string[]]> = [
  ['genisoimage', '-quiet'],
  ['xorriso', '-report_about', 'SORRY', '-as', 'mkisofs', '-quiet'],
  ['mkisofs', '-quiet'],
];
const sectorBytes = 2048;
/** cloud-init reads larger files, but a thousand seeds must fit on the disk. */
const maxFileBytes = 1024 * 1024;

interface Slot {
  name: string;
  offset: number;
  length: number;
}

/**
 * Creates the ISO images of many seeds with one tool call: it writes one image with placeholders of the largest size, and
 * each member gets a copy with its own files in their place. The rest of each placeholder is filled with line breaks, which mean
 * nothing at the end of YAML and of scripts.
 */
export class SeedImages {
  readonly #image: Buffer;
  readonly #slots: Slot[];

  private constructor(image: Buffer, slots: Slot[]) {
    this.#image = image;
    this.#slots = slots;
  }

  /** @throws TOOL_MISSING if no tool is installed, BAD_TEMPLATE if a file is too large */
  static async for(seeds: Iterable<Seed>): Promise<SeedImages> {
    const sizes = new Map<string, number>();
    for (const { files } of seeds) {
      for (const [name, text] of Object.entries(files)) {
        if (text === undefined) continue;
        const length = Buffer.byteLength(text);
        if (length > maxFileBytes) {
          throw new CowherdError('BAD_TEMPLATE', `The ${name} of a seed is ${length} bytes long, and the limit is ${maxFileBytes}`, {
            hint: 'Let the guest download large files, or put them into the base image.',
          });
        }
        sizes.set(name, Math.max(sizes.get(name) ?? 1, length));
      }
    }
    const scratch = await makeScratch();
    try {
      const places = new Map<string, { mark: Buffer; length: number }>();
      const directory = join(scratch, 'seed');
      await mkdir(directory);
      for (const [name, size] of sizes) {
        const length = Math.ceil(size / sectorBytes) * sectorBytes;
        const mark = randomBytes(32);
        places.set(name, { mark, length });
        await writeFile(join(directory, name), Buffer.concat([mark, Buffer.alloc(length - mark.length, '\n')]));
      }
      const image = join(scratch, 'seed.iso');
      await writeIso(directory, image);
      const bytes = await readFile(image);
      const slots = [...places].map(([name, { mark, length }]) => ({ name, length, offset: offsetOf(bytes, mark, name) }));
      return new SeedImages(bytes, slots);
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  imageOf({ files }: Seed): Buffer {
    const image = Buffer.from(this.#image);
    for (const { name, offset, length } of this.#slots) {
      image.fill('\n', offset, offset + length);
      image.write(files[name as keyof Seed['files']] ?? '', offset, length, 'utf8');
    }
    return image;
  }
}

function offsetOf(image: Buffer, mark: Buffer, name: string): number {
  const offset = image.indexOf(mark);
  if (offset < 0 || offset % sectorBytes !== 0 || image.indexOf(mark, offset + 1) >= 0)
    throw new Error(`the ISO tool did not put ${name} where it can be found`);
  return offset;
}

function writeIso(directory: string, image: string): Promise<unknown> {
  return withFirstTool((command, args) => runTool(command, [...args, '-V', 'cidata', '-J', '-r', '-no-pad', '-o', image, directory]));
}

/** @returns the name of the tool that is used @throws TOOL_MISSING */
export function isoTool(): Promise<string> {
  return withFirstTool(async (command) => {
    await runTool(command, ['-version']);
    return command;
  });
}

async function withFirstTool<T>(work: (command: string, args: string[]) => Promise<T>): Promise<T> {
  for (const [command, ...args] of tools) {
    try {
      return await work(command, args);
    } catch (error) {
      if (!(error instanceof CowherdError) || error.code !== 'TOOL_MISSING') throw error;
    }
  }
  throw new CowherdError('TOOL_MISSING', 'No tool that writes ISO images is installed: neither genisoimage nor xorriso', {
    hint: 'cloud-init seeds need one. On Debian and Ubuntu: sudo apt-get install genisoimage. Without seeds: --seed none',
  });
}

import { open, writeFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inspectGuestFiles } from '../../../src/adapters/guest-files/inspect.js';
import { CowherdError } from '../../../src/core/errors.js';
import { assertImportable, headerBytes, imageFormat, parseQcow2Header } from '../../../src/core/image/qcow2-header.js';
import { ImportLab } from '../../support/import-lab.js';

const soak = Number(process.env.COWHERD_SOAK ?? 1);
const parsed = Math.round(2000 * soak);
const imported = Math.round(20 * soak);

describe('an image with random changes', () => {
  const lab = ImportLab.here();
  const edits = fc.array(
    fc.record({
      place: fc.oneof({ weight: 5, arbitrary: fc.nat(127) }, fc.nat(4095)),
      byte: fc.constantFrom(0, 1, 2, 4, 0x7f, 0x80, 0xff),
    }),
    { minLength: 1, maxLength: 12 },
  );
  type Edits = Array<{ place: number; byte: number }>;
  const mutant = (changes: Edits): Buffer => {
    const bytes = Buffer.from(lab.golden);
    for (const { place, byte } of changes) bytes[place] = byte;
    return bytes;
  };

  it(`has a header that is read or refused, ${parsed} times`, async () => {
    let good = 0;
    await writeFile(lab.at('fuzz'), lab.golden);
    const file = await open(lab.at('fuzz'), 'r+');
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => {
        const bytes = mutant(changes);
        const head = bytes.subarray(0, headerBytes);
        try {
          if (imageFormat('x', head, undefined) === 'qcow2')
            assertImportable('x', parseQcow2Header('x', head), BigInt(bytes.length), { trustChain: false });
          good++;
        } catch (error) {
          expect(error).toMatchObject({ code: 'BASE_REFUSED' });
        }
        await file.write(bytes, 0, 4096, 0);
        // Never throws, whatever the input.
        await inspectGuestFiles(lab.at('fuzz'), 'qcow2', { milliseconds: 500 });
      }),
      { numRuns: parsed },
    );
    await file.close();
    expect(good).toBeGreaterThan(0);
    expect(good).toBeLessThan(parsed);
  });

  it(`is imported or refused, ${imported} times`, { timeout: 7_200_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(edits, async (changes) => {
        const bytes = mutant(changes);
        await writeFile(lab.at('fuzz'), bytes);
        const result = await lab.add('fuzz');
        if (!(result instanceof CowherdError)) await lab.store.remove(result.base);
      }),
      { numRuns: imported },
    );
  });
});

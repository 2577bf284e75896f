import { describe, expect, it } from 'vitest';
import { CowherdError } from '../../../../src/core/errors.js';
import { memberIdentity } from '../../../../src/core/fleet/identity.js';
import { type Operation, operationLogLine, operationSchema, parseOperationLog } from '../../../../src/core/fleet/operation.js';
import { type FleetRecord, fleetRecordSchema, parseState } from '../../../../src/core/fleet/record.js';
import { baseRecordSchema } from '../../../../src/core/image/base.js';
import { type SnapshotRecord, snapshotRecordSchema } from '../../../../src/core/snapshot/snapshot.js';
import { defaultDomainSpec } from '../../../../src/core/spec/spec.js';

const id = '8b0c3a52-3a0f-4c5e-9f5e-0d6f0c1b2a33';
const digest = 'ab'.repeat(32);
const at = '2026-01-01T00:00:00.000Z';
const record: FleetRecord = {
  version: 1,
  id,
  name: 'lab',
  base: { name: 'golden', digest },
  spec: defaultDomainSpec,
  createdAt: at,
  freshOverlayBytes: 12_288,
  members: [1, 2].map((index) => memberIdentity('lab', id, index, 1)),
};
const operation: Operation = {
  version: 1,
  id,
  fleet: 'lab',
  verb: 'spawn',
  startedAt: at,
  targets: [1, 2],
  wasOn: [],
  start: 'same',
  record,
  wholeFleet: false,
  keepInstance: false,
  withBase: false,
};
const base = {
  version: 1,
  name: 'golden',
  digest,
  format: 'qcow2',
  virtualBytes: 1024,
  importedAt: at,
  source: { path: '/golden.qcow2', fingerprint: '1:2' },
  seal: { size: 1, mtimeNs: '1', inode: '1' },
  allocatedBytes: 512,
};
const snapshots: SnapshotRecord = { version: 1, name: 'web', uuid: id, levels: [] };

/** What a power failure may leave of a file: its beginning, or zeros of its length. All are tried. */
describe('a torn state file', () => {
  it.each([
    ['fleet.json', fleetRecordSchema, record],
    ['operation.json', operationSchema, operation],
    ['a base record', baseRecordSchema, base],
    ['snapshots.json', snapshotRecordSchema, snapshots],
  ] as const)('%s is damaged at every length, and never taken for another one', (file, schema, document) => {
    const text = `${JSON.stringify(document, undefined, 2)}\n`;
    expect(parseState<unknown>(schema, 'lab', file, text, 'Mend it.')).toEqual(document);
    // The last character is the line break.
    const torn = Array.from({ length: text.length - 1 }, (_, length) => text.slice(0, length));
    for (const part of [...torn, '\0'.repeat(text.length)]) {
      let error: unknown;
      try {
        parseState<unknown>(schema, 'lab', file, part, 'Mend it.');
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(CowherdError);
      expect(error).toMatchObject({ code: 'STATE_DAMAGED', hint: 'Mend it.', message: expect.stringContaining(file) });
    }
  });

  it('operation.log loses the member of the torn line, and marks no other as done', () => {
    const done = [1, 2, 17, 117];
    const text = done.map(operationLogLine).join('');
    for (let length = 0; length <= text.length; length++) {
      const whole = text.slice(0, length).split('\n').length - 1;
      expect([...parseOperationLog(text.slice(0, length))]).toEqual(done.slice(0, whole));
    }
    expect([...parseOperationLog('\0'.repeat(text.length))]).toEqual([]);
  });
});

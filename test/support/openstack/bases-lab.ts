import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect } from 'vitest';
import type { NovaContext } from '../../../src/engines/nova/context.js';
import { novaBases } from '../../../src/engines/nova/verbs/bases.js';
import type { FleetStore } from '../../../src/ports/fleets.js';
import type { EngineBases } from '../../../src/services/engine/engine.js';
import type { FakeCloud } from '../../fakes/openstack/fake-cloud.js';
import type { StatefulCloud } from '../../fakes/openstack/stateful/stateful-cloud.js';
import type { CloudImage } from '../../fakes/openstack/stateful/world.js';
import { NovaLab } from './nova-lab.js';
import { addOldImage } from './recorded-fleet.js';

/** A cloud for tests of base images: new for each test. */
export class BasesLab {
  root!: string;
  cloud!: StatefulCloud;
  fake!: FakeCloud;
  fleets!: FleetStore;
  context!: NovaContext;
  bases!: EngineBases;
  /** Contains the files to upload. */
  directory!: string;

  /** For the tests of this file. */
  static here(): BasesLab {
    const lab = new BasesLab();
    let nova: NovaLab;
    beforeEach(async () => {
      lab.directory = await mkdtemp(join(tmpdir(), 'cwt-nova-bases-'));
      // Its time passes with each request.
      nova = await NovaLab.openEmpty(undefined, { msPerRead: 700 });
      lab.root = nova.root;
      lab.cloud = nova.cloud;
      lab.fake = nova.cloud.fake;
      lab.context = await nova.context();
      lab.fleets = lab.context.ports.fleets;
      lab.bases = novaBases(lab.context);
    });
    afterEach(async () => {
      expect(lab.fake.unknown).toEqual([]);
      await nova.close();
      await rm(lab.directory, { recursive: true });
    });
    return lab;
  }

  image(id: string, fields: Partial<CloudImage> = {}): CloudImage {
    return addOldImage(this.cloud, id, fields);
  }

  ids(): string[] {
    return this.cloud.images.map(({ id }) => id).sort();
  }

  /** @returns its path */
  async file(name: string, content: Buffer): Promise<string> {
    await writeFile(join(this.directory, name), content);
    return join(this.directory, name);
  }

  add(path: string, more: object = {}): ReturnType<EngineBases['add']> {
    return this.bases.add({ path, trustChain: false, ...more }, {});
  }
}

/** A raw disk with a boot sector. */
export function disk(seed: number, sectors = 8): Buffer {
  const content = Buffer.alloc(512 * sectors, seed);
  content.writeUInt16LE(0xaa55, 510);
  return content;
}

export function sha512(content: Buffer): string {
  return createHash('sha512').update(content).digest('hex');
}

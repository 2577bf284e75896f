import { setTimeout } from 'node:timers/promises';
import { isStartingUp } from '../../core/fleet/observation.js';
import type { DomainDefinition, Hypervisor } from '../../ports/hypervisor.js';
import { runAttached } from '../process.js';
import { stuckStart, type VirshFault } from './session/virsh-errors.js';
import { memoryMs, quote } from './session/virsh-session.js';
import { domainWord } from './session/virsh-words.js';
import { VirshQueries } from './virsh-queries.js';

/** How to poll a start that lost its connection: at least this often, and until libvirt reports its result. */
const looksAfterLoss = 6;
const mostLooksAfterLoss = 60;

export class Virsh extends VirshQueries implements Hypervisor {
  async define({ name, xml }: DomainDefinition, { validate = false } = {}): Promise<void> {
    await this.withFile(name, xml, async (path) => {
      await this.mutate(`define ${validate ? '--validate ' : ''}${quote(path)}`, `define ${name}`);
    });
  }

  async createTransient({ name, xml }: DomainDefinition): Promise<void> {
    await this.withFile(name, xml, async (path) => {
      await this.mutate(`create ${quote(path)}`, `create ${name}`);
    });
  }

  async start(name: string, savedBytes = 0): Promise<void> {
    const order = (): Promise<VirshFault | undefined> =>
      this.mutate(`start ${domainWord(name)}`, `start ${name}`, ['already running'], { domain: name, moreMs: memoryMs(savedBytes) });
    const losses = this.pool.losses;
    const looksAtLeast = (): number => (this.pool.losses > losses ? looksAfterLoss : 1);
    if ((await order()) === undefined && this.pool.losses === losses) return;
    // A daemon that ended during a start finds an unfinished QEMU when it is back: the domain is "already running" for a
    // while, paused and "starting up", and then the daemon kills it.
    for (let look = 1; look <= mostLooksAfterLoss; look++) {
      await setTimeout(this.options.lookAfterLossMs ?? 500);
      const found = await this.stateOf(name);
      if (found.state === 'shutOff') await order();
      else if (!isStartingUp(found) && look >= looksAtLeast()) return;
    }
    if (!isStartingUp(await this.stateOf(name))) return;
    // The guest has not run yet, so nothing is lost.
    await this.destroy(name);
    await order();
  }

  async startPaused(name: string): Promise<void> {
    await this.mutate(`start ${domainWord(name)} --paused`, `start ${name}`, ['already running'], { domain: name });
  }

  async resume(name: string): Promise<void> {
    await this.mutate(`resume ${domainWord(name)}`, `resume ${name}`, ['already running'], { domain: name });
  }

  async destroy(name: string): Promise<void> {
    await this.mutate(`destroy ${domainWord(name)}`, `stop ${name}`, ['domain not found', 'not running'], {
      domain: name,
      beforeRepeat: async () => {
        if (isStartingUp(await this.stateOf(name))) throw stuckStart(name, this.isSystem);
      },
    });
  }

  async shutdown(name: string): Promise<void> {
    await this.mutate(`shutdown ${domainWord(name)}`, `shut down ${name}`, ['not running'], { domain: name });
  }

  async undefine(name: string): Promise<void> {
    const flags = '--managed-save --snapshots-metadata --checkpoints-metadata --nvram';
    const order = (words: string, ...accepted: VirshFault[]): Promise<VirshFault | undefined> =>
      this.mutate(words, `undefine ${name}`, ['domain not found', ...accepted]);
    // --tpm exists since libvirt 8.9; before, undefine always removed the TPM state.
    const fault = await order(`undefine ${domainWord(name)} ${flags} --tpm`, 'unknown option');
    if (fault === 'unknown option') await order(`undefine ${domainWord(name)} ${flags}`);
  }

  attachConsole(name: string): Promise<number> {
    return runAttached('virsh', ['-c', this.uri, 'console', name]);
  }

  async forgetSavedState(name: string): Promise<void> {
    await this.mutate(`managedsave-remove ${domainWord(name)}`, `remove the saved state of ${name}`, ['domain not found']);
  }

  async forgetSnapshots(name: string): Promise<void> {
    const { snapshots, checkpoints } = await this.snapshotsOf(name);
    const forget = (kind: string, word: string): Promise<unknown> =>
      this.mutate(`${kind}-delete ${domainWord(name)} --${kind}name ${quote(word)} --metadata`, `delete the ${kind} ${word} of ${name}`);
    for (const word of snapshots) await forget('snapshot', word);
    for (const word of checkpoints) await forget('checkpoint', word);
  }

  async saveManaged(name: string, memoryBytes: number): Promise<void> {
    await this.mutate(`managedsave ${domainWord(name)} --running`, `save the memory of ${name}`, [], {
      domain: name,
      moreMs: memoryMs(memoryBytes),
    });
  }

  async restorePaused(name: string, file: string, memoryBytes: number): Promise<void> {
    await this.mutate(`restore ${quote(file)} --paused`, `restore ${name}`, [], { domain: name, moreMs: memoryMs(memoryBytes) });
  }

  async growDisk(name: string, path: string, virtualBytes: number): Promise<void> {
    await this.mutate(`blockresize ${domainWord(name)} ${quote(path)} ${virtualBytes}B`, `enlarge the disk of ${name}`, [], {
      domain: name,
    });
  }

  async setLink(name: string, mac: string, isUp: boolean): Promise<void> {
    await this.mutate(`domif-setlink ${domainWord(name)} ${quote(mac)} ${isUp ? 'up' : 'down'}`, `set the link state of ${name}`, [], {
      domain: name,
    });
  }
}

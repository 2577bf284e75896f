import { setTimeout } from 'node:timers/promises';
import { CowherdError } from '../core/errors.js';
import type { Monitor } from '../ports.js';
import { isTimeout, silentDomain, virshError } from './virsh-errors.js';
import { memoryMs, quote, type Reply } from './virsh-session.js';

/** One at a time in each process: what a killed run has begun is found by it. */
const jobId = 'cowherd';
/** A guest of many gigabytes on a slow disk. */
const jobMs = 15 * 60_000;
const poll = { firstMs: 20, mostMs: 500, growth: 1.3 };

interface Job {
  id: string;
  status: string;
  error?: string;
}

interface JobWork {
  /** For messages. */
  doing: string;
  /** How much longer than others a call may take while the job runs. */
  moreMs: number;
}

/** Source: QEMU docs/interop/qemu-qmp-ref, snapshot-save, snapshot-load, snapshot-delete, query-jobs */
export class QemuMonitor implements Monitor {
  readonly #run: (command: string, moreMs: number) => Promise<Reply>;

  constructor(run: (command: string, moreMs: number) => Promise<Reply>) {
    this.#run = run;
  }

  save(domain: string, tag: string, disks: readonly string[], memoryBytes: number): Promise<void> {
    return this.#job(domain, 'snapshot-save', tag, disks, { doing: `save ${domain}`, moreMs: memoryMs(memoryBytes) });
  }

  load(domain: string, tag: string, disks: readonly string[], memoryBytes: number): Promise<void> {
    return this.#job(domain, 'snapshot-load', tag, disks, { doing: `put ${domain} back`, moreMs: memoryMs(memoryBytes) });
  }

  drop(domain: string, tag: string, disks: readonly string[]): Promise<void> {
    return this.#job(domain, 'snapshot-delete', tag, disks, { doing: `drop a checkpoint of ${domain}`, moreMs: 0 });
  }

  async settle(domain: string, memoryBytes: number): Promise<void> {
    await this.#settle(domain, { doing: 'finish what it was at', moreMs: memoryMs(memoryBytes) });
  }

  async version(domain: string): Promise<string> {
    const { qemu, package: of } = (await this.#ask(domain, 'query-version')) as {
      qemu?: { major?: number; minor?: number; micro?: number };
      package?: string;
    };
    return `${qemu?.major}.${qemu?.minor}.${qemu?.micro}${of === undefined || of === '' ? '' : ` (${of})`}`;
  }

  async #job(domain: string, verb: string, tag: string, disks: readonly string[], work: JobWork): Promise<void> {
    // Of a run that was killed, or that has given up waiting.
    await this.#settle(domain, work);
    const devices = await this.#nodes(domain, disks);
    await this.#ask(domain, verb, { 'job-id': jobId, tag, devices, ...(verb === 'snapshot-delete' ? {} : { vmstate: devices[0] }) });
    const job = await this.#settle(domain, work);
    if (job?.error === undefined) return;
    throw new CowherdError('TOOL_FAILED', `QEMU could not ${work.doing}: ${job.error}`, {
      hint: /no space|No space/.test(job.error)
        ? 'The disk is full: "cowherd report" shows who uses it.'
        : `A cold reset always works: cowherd reset ${domain.replace(/-\d+$/, '')} ${Number(/\d+$/.exec(domain)?.[0])}`,
    });
  }

  /** Waits for our job, if there is one, and takes it away. While it runs QEMU answers nothing at all. */
  async #settle(domain: string, { doing, moreMs }: JobWork): Promise<Job | undefined> {
    const began = performance.now();
    for (let pause = poll.firstMs; ; pause = Math.min(poll.mostMs, pause * poll.growth)) {
      const job = ((await this.#ask(domain, 'query-jobs', undefined, moreMs)) as Job[]).find(({ id }) => id === jobId);
      if (job === undefined) return undefined;
      if (job.status === 'concluded') {
        await this.#ask(domain, 'job-dismiss', { id: jobId });
        return job;
      }
      if (performance.now() - began > jobMs)
        throw new CowherdError('TOOL_TIMEOUT', `The QEMU of ${domain} did not ${doing} within ${jobMs / 60_000} minutes`, {
          hint: `It may still be at it: virsh qemu-monitor-command ${domain} '{"execute":"query-jobs"}'`,
        });
      await setTimeout(pause);
    }
  }

  /** QEMU's names of the block nodes that have these files open. */
  async #nodes(domain: string, disks: readonly string[]): Promise<string[]> {
    const blocks = (await this.#ask(domain, 'query-block')) as Array<{ inserted?: { 'node-name'?: string; file?: string; ro?: boolean } }>;
    const nodes = new Map(blocks.flatMap(({ inserted }) => (inserted?.file === undefined ? [] : [[inserted.file, inserted] as const])));
    const others = [...nodes].filter(([file, { ro }]) => ro === false && !disks.includes(file) && !file.endsWith('.fd'));
    if (others[0] !== undefined) {
      throw new CowherdError('NOT_SUPPORTED', `${domain} writes to a disk that is not its fleet's: ${others[0][0]}`, {
        hint: 'What is on that disk could not be put back with the rest. Take it out of the template, or let the fleet have it (--disk).',
      });
    }
    return disks.map((disk) => {
      const name = nodes.get(disk)?.['node-name'];
      if (name !== undefined) return name;
      throw new CowherdError('DOMAIN_CHANGED', `The QEMU of ${domain} does not have ${disk} open`, {
        hint: `See what it has: virsh domblklist ${domain}`,
      });
    });
  }

  async #ask(domain: string, execute: string, words?: object, moreMs = 0): Promise<unknown> {
    const text = JSON.stringify({ execute, ...(words === undefined ? {} : { arguments: words }) });
    const doing = `ask the QEMU of ${domain} for ${execute}`;
    const reply = await this.#run(`qemu-monitor-command ${quote(domain)} ${quote(text)}`, moreMs).catch((error: unknown) => {
      throw isTimeout(error) ? silentDomain(domain, doing, error) : error;
    });
    if (reply.error !== '') {
      const error = virshError(doing, reply.error);
      throw isTimeout(error) ? silentDomain(domain, doing, error) : error;
    }
    const answer = JSON.parse(reply.stdout) as { return?: unknown; error?: { desc?: string } };
    if (answer.error === undefined) return answer.return;
    throw new CowherdError('TOOL_FAILED', `The QEMU of ${domain} refused ${execute}: ${answer.error.desc ?? 'no reason given'}`, {
      hint: 'It needs QEMU 6.0 or newer. "cowherd doctor" tells which this is.',
    });
  }
}

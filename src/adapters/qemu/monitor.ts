import { setTimeout } from 'node:timers/promises';
import { formatDuration } from '../../core/duration.js';
import { CowherdError } from '../../core/errors.js';
import { type MonitorJob, parseAnswer, parseBlocks, parseJobs, parseVersion } from '../../core/guest/monitor.js';
import { excerpt } from '../../core/guest/text.js';
import type { Monitor } from '../../ports/index.js';
import { isTimeout, silentDomain, virshError } from '../libvirt/session/virsh-errors.js';
import { memoryMs, quote, type Reply } from '../libvirt/session/virsh-session.js';
import { domainWord } from '../libvirt/session/virsh-words.js';

/** One job id per QEMU, so that a job of a killed run is found. */
const jobId = 'cowherd';
/** Long enough for many gigabytes of memory on a slow disk. */
const jobMs = 15 * 60_000;
const poll = { firstMs: 20, mostMs: 500, growth: 1.3 };

interface JobWork {
  /** For messages. */
  doing: string;
  /** Additional time for calls while the job runs. */
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
    return this.#job(domain, 'snapshot-load', tag, disks, { doing: `restore ${domain}`, moreMs: memoryMs(memoryBytes) });
  }

  drop(domain: string, tag: string, disks: readonly string[]): Promise<void> {
    return this.#job(domain, 'snapshot-delete', tag, disks, { doing: `delete a checkpoint of ${domain}`, moreMs: 0 });
  }

  async settle(domain: string, memoryBytes: number): Promise<void> {
    await this.#settle(domain, { doing: 'finish its current job', moreMs: memoryMs(memoryBytes) });
  }

  async version(domain: string): Promise<string> {
    return parseVersion(domain, await this.#query(domain, 'query-version'));
  }

  async #job(domain: string, verb: string, tag: string, disks: readonly string[], work: JobWork): Promise<void> {
    // Left by a run that was killed or that timed out.
    await this.#settle(domain, work);
    const devices = await this.#nodes(domain, disks);
    await this.#query(domain, verb, { 'job-id': jobId, tag, devices, ...(verb === 'snapshot-delete' ? {} : { vmstate: devices[0] }) });
    const job = await this.#settle(domain, work);
    if (job?.error === undefined) return;
    throw new CowherdError('TOOL_FAILED', `QEMU could not ${work.doing}: ${excerpt(job.error)}`, {
      hint: /no space|No space/.test(job.error)
        ? 'The disk is full: "cowherd report" shows what uses it.'
        : `A cold reset always works: cowherd reset ${domain.replace(/-\d+$/, '')} ${Number(/\d+$/.exec(domain)?.[0])}`,
    });
  }

  /** Waits for our job, if any, and dismisses it. QEMU does not respond while the job runs. */
  async #settle(domain: string, { doing, moreMs }: JobWork): Promise<MonitorJob | undefined> {
    const began = performance.now();
    for (let pause = poll.firstMs; ; pause = Math.min(poll.mostMs, pause * poll.growth)) {
      const job = parseJobs(domain, await this.#query(domain, 'query-jobs', undefined, moreMs)).find(({ id }) => id === jobId);
      if (job === undefined) return undefined;
      if (job.status === 'concluded') {
        await this.#query(domain, 'job-dismiss', { id: jobId });
        return job;
      }
      if (performance.now() - began > jobMs)
        throw new CowherdError('TOOL_TIMEOUT', `The QEMU of ${domain} did not ${doing} within ${formatDuration(jobMs)}`, {
          hint: `It may still be running: virsh qemu-monitor-command ${domain} '{"execute":"query-jobs"}'`,
        });
      await setTimeout(pause);
    }
  }

  /** QEMU's names of the block nodes that have these files open. */
  async #nodes(domain: string, disks: readonly string[]): Promise<string[]> {
    const nodes = new Map(parseBlocks(domain, await this.#query(domain, 'query-block')).map((disk) => [disk.file, disk]));
    const others = [...nodes.values()].filter(({ file, isReadOnly }) => !isReadOnly && !disks.includes(file) && !file.endsWith('.fd'));
    if (others[0] !== undefined) {
      throw new CowherdError('NOT_SUPPORTED', `${domain} writes to a disk that is not its fleet's: ${excerpt(others[0].file)}`, {
        hint: 'A checkpoint cannot restore that disk. Remove it from the template, or add it to the fleet (--disk).',
      });
    }
    return disks.map((disk) => {
      const name = nodes.get(disk)?.node;
      if (name !== undefined) return name;
      throw new CowherdError('DOMAIN_CHANGED', `The QEMU of ${domain} does not have ${disk} open`, {
        hint: `Check its disks: virsh domblklist ${domain}`,
      });
    });
  }

  async #query(domain: string, execute: string, words?: object, moreMs = 0): Promise<unknown> {
    const text = JSON.stringify({ execute, ...(words === undefined ? {} : { arguments: words }) });
    const doing = `run ${execute} in the QEMU of ${domain}`;
    const reply = await this.#run(`qemu-monitor-command ${domainWord(domain)} ${quote(text)}`, moreMs).catch((error: unknown) => {
      throw isTimeout(error) ? silentDomain(domain, doing, error) : error;
    });
    if (reply.error !== '') {
      const error = virshError(doing, reply.error);
      throw isTimeout(error) ? silentDomain(domain, doing, error) : error;
    }
    const answer = parseAnswer(domain, execute, reply.stdout);
    if ('value' in answer) return answer.value;
    throw new CowherdError('TOOL_FAILED', `The QEMU of ${domain} refused ${execute}: ${excerpt(answer.refusal)}`, {
      hint: 'It needs QEMU 6.0 or newer. "cowherd doctor" shows the version.',
    });
  }
}

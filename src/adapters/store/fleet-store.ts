import { lstat, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { MemberFiles } from '../../core/domain/template.js';
import type { EndedRun, HistoryEntry } from '../../core/fleet/history.js';
import type { Operation, Unfinished } from '../../core/fleet/operation.js';
import { assertPlace, type FleetRecord, parseFleetRecord } from '../../core/fleet/record.js';
import type { LockHolder, LockNote } from '../../core/lock.js';
import { namePattern } from '../../core/names.js';
import type { SourceKind } from '../../core/spec/spec.js';
import type { ConsolePiece, FleetLock, FleetStore } from '../../ports/fleets.js';
import type { AgentSockets } from '../libvirt/agent-sockets.js';
import { readConsoleLog } from './console-log.js';
import { placeBytes, placeText, syncDirectory, writeJson } from './files/atomic-write.js';
import { makeDirectory } from './files/directories.js';
import { isMissing, listDirectory, storeError } from './files/files.js';
import { assertDirectory, assertOwn, readIfThere, readOwn } from './files/own-files.js';
import { SafeUnlinker } from './files/safe-unlinker.js';
import { removeEmpty, removeFleetDirectory, removeMemberFiles } from './fleet-removal.js';
import { fleetLayout, logEnding, nvramEnding, overlayEnding, seedEnding, storeLayout } from './layout.js';
import { FileLock, type LockPolicy, lockHolder, requestOf } from './lock.js';
import { findRun } from './lock-holder.js';
import { OperationJournal } from './operation-journal.js';

export class FleetDirectory implements FleetStore {
  readonly root: string;
  readonly #held = new Set<FileLock>();
  #lockChanges = 0;

  readonly #agentSockets: AgentSockets;
  readonly #locking: LockPolicy;
  readonly #journal: OperationJournal;
  readonly #engine: string | undefined;

  /** @param engine name of the platform of the fleets; undefined: this host */
  constructor(root: string, agentSockets: AgentSockets, locking: LockPolicy = {}, engine?: string) {
    this.root = root;
    this.#engine = engine;
    this.#agentSockets = agentSockets;
    this.#locking = locking;
    this.#journal = new OperationJournal(root);
  }

  /** Descriptors of the locks that are held, for child processes. */
  heldDescriptors(): number[] {
    return [...this.#held].map((lock) => lock.descriptor);
  }

  /** Increases whenever a lock is taken or released. */
  get lockChanges(): number {
    return this.#lockChanges;
  }

  async list(): Promise<string[]> {
    const entries = await listDirectory(storeLayout(this.root).fleets);
    return entries.filter((name) => namePattern.test(name)).sort();
  }

  async read(fleet: string): Promise<FleetRecord | undefined> {
    const text = await readIfThere(fleetLayout(this.root, fleet).record);
    if (text === undefined) return undefined;
    const record = parseFleetRecord(fleet, text);
    assertPlace(this.#engine, record);
    return record;
  }

  async write(record: FleetRecord): Promise<void> {
    const { directory, record: path } = fleetLayout(this.root, record.name);
    await makeDirectory(directory);
    await writeJson(path, record).catch((cause: unknown) => {
      throw storeError(`write ${path}`, cause);
    });
  }

  async lock(fleet: string, { waitSeconds }: { waitSeconds?: number | undefined } = {}): Promise<FleetLock> {
    await makeDirectory(storeLayout(this.root).fleets);
    const { directory, overlays, logs, nvram, seeds, ssh, checkpoints, unmade, lock: path } = fleetLayout(this.root, fleet);
    for (const room of [directory, overlays, logs, nvram, seeds, ssh, checkpoints, unmade]) await assertDirectory(room);
    const policy = { ...this.#locking, waitSeconds: this.#locking.waitSeconds ?? waitSeconds };
    const lock = await FileLock.take(path, `Fleet ${fleet}`, requestOf(policy, `Fleet ${fleet}`));
    this.#held.add(lock);
    this.#lockChanges++;
    return {
      release: async () => {
        this.#held.delete(lock);
        this.#lockChanges++;
        // A teardown that was killed at the very end leaves an empty directory, and a missing fleet needs no lock.
        await removeEmpty(directory).catch(() => undefined);
        try {
          if ((await lstat(directory).catch(isMissing)) === true) await rm(path, { force: true });
        } finally {
          await lock.release();
        }
      },
    };
  }

  runner(fleet: string): Promise<LockNote | undefined> {
    return findRun(fleetLayout(this.root, fleet).lock);
  }

  holder(fleet: string): Promise<LockHolder | undefined> {
    return lockHolder(fleetLayout(this.root, fleet).lock);
  }

  readSource(fleet: string, kind: SourceKind, digest: string): Promise<string | undefined> {
    return readIfThere(fleetLayout(this.root, fleet).source(kind, digest));
  }

  async writeSource(fleet: string, kind: SourceKind, digest: string, text: string): Promise<void> {
    const { directory, source } = fleetLayout(this.root, fleet);
    await makeDirectory(directory);
    // User-data often contains a password, and a domain's XML may contain one for its console.
    await placeText(source(kind, digest), text, 0o600);
  }

  files(fleet: string, member: string): MemberFiles {
    const { overlays, logs, seeds, nvram } = fleetLayout(this.root, fleet);
    return {
      overlay: join(overlays, member + overlayEnding),
      disk: (stem) => join(overlays, stem + overlayEnding),
      nvram: join(nvram, member + nvramEnding),
      seed: join(seeds, member + seedEnding),
      consoleLog: join(logs, member + logEnding),
      agentSocket: this.#agentSockets.path(member),
    };
  }

  async listIdentityPending(fleet: string): Promise<Set<string>> {
    return new Set(await listDirectory(fleetLayout(this.root, fleet).unmade));
  }

  async markIdentityPending(fleet: string, member: string): Promise<void> {
    const { directory, unmade, identityPendingMarker } = fleetLayout(this.root, fleet);
    const path = identityPendingMarker(member);
    await makeDirectory(unmade);
    try {
      await new SafeUnlinker(directory).unlink(path);
      // Not synced: no file system keeps the later rename of a disk and loses this.
      await (await open(path, 'wx', 0o600)).close();
    } catch (cause) {
      throw storeError(`write ${path}`, cause);
    }
  }

  async markMade(fleet: string, member: string): Promise<void> {
    const { directory, unmade, identityPendingMarker } = fleetLayout(this.root, fleet);
    await new SafeUnlinker(directory).unlink(identityPendingMarker(member));
    // If it reappeared after a host crash, it would block the start of a guest with its own disk.
    await syncDirectory(unmade).catch((cause: unknown) => {
      throw storeError(`sync ${unmade}`, cause);
    });
  }

  async writeGoldenNvram(fleet: string, digest: string, bytes: Buffer): Promise<void> {
    const { directory, goldenNvram } = fleetLayout(this.root, fleet);
    await makeDirectory(directory);
    await placeBytes(goldenNvram(digest), bytes);
  }

  async placeNvram(fleet: string, member: string, digest: string | undefined): Promise<void> {
    const { directory, nvram, goldenNvram } = fleetLayout(this.root, fleet);
    const target = join(nvram, member + nvramEnding);
    await makeDirectory(nvram);
    // Without a golden NVRAM, libvirt creates it from the firmware's template at the next start.
    if (digest === undefined) return new SafeUnlinker(directory).unlink(target);
    const golden = goldenNvram(digest);
    const bytes = await readOwn(golden).catch((cause: unknown) => {
      throw storeError(`read the golden NVRAM ${golden}`, cause);
    });
    await placeBytes(target, bytes);
  }

  async prepareStart(fleet: string, member: string): Promise<void> {
    await this.#agentSockets.prepare();
    const { consoleLog, nvram, seed } = this.files(fleet, member);
    for (const path of [nvram, seed]) await assertOwn(path);
    const { logs, directory } = fleetLayout(this.root, fleet);
    try {
      await makeDirectory(logs);
      await new SafeUnlinker(directory).unlink(consoleLog);
      await (await open(consoleLog, 'wx', 0o600)).close();
    } catch (cause) {
      throw storeError(`create the console log ${consoleLog}`, cause);
    }
  }

  readConsole(fleet: string, member: string, fromByte: number, known?: string): Promise<ConsolePiece> {
    return readConsoleLog(this.files(fleet, member).consoleLog, fromByte, known);
  }

  async removeMemberFiles(fleet: string, member: string, stems: readonly string[]): Promise<void> {
    await removeMemberFiles(fleetLayout(this.root, fleet), member, stems);
    await this.#agentSockets.remove(member);
  }

  async removeFleet(fleet: string): Promise<string[]> {
    const operation = (await this.unfinished(fleet).catch(() => undefined))?.operation;
    // Other operations need fleet.json, for example if a full disk prevented writing the intent of the teardown.
    const isIntentEnough = operation?.record !== undefined && ['spawn', 'teardown'].includes(operation.verb);
    return removeFleetDirectory(fleetLayout(this.root, fleet), isIntentEnough);
  }

  beginOperation(fleet: string, operation: Operation): Promise<void> {
    return this.#journal.begin(fleet, operation);
  }

  markDone(fleet: string, index: number): Promise<void> {
    return this.#journal.markDone(fleet, index);
  }

  remember(fleet: string, run: EndedRun): Promise<void> {
    return this.#journal.remember(fleet, run);
  }

  history(fleet: string): Promise<HistoryEntry[]> {
    return this.#journal.history(fleet);
  }

  markFailed(fleet: string, index: number, code: string): Promise<void> {
    return this.#journal.markFailed(fleet, index, code);
  }

  endOperation(fleet: string): Promise<void> {
    return this.#journal.end(fleet);
  }

  async unfinished(fleet: string): Promise<Unfinished | undefined> {
    const unfinished = await this.#journal.unfinished(fleet);
    if (unfinished?.operation.record !== undefined) assertPlace(this.#engine, unfinished.operation.record);
    return unfinished;
  }
}

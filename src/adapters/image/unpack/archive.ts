import { archiveLimits, archiveRefusal, isDiskEntry, matchOf } from '../../../core/image/formats/archive.js';
import type { Entry, Piece } from '../../../core/image/formats/entry-body.js';
import type { Part } from '../../../core/image/formats/sparse.js';
import { shellWord } from '../../../core/quoting.js';
import type { ImportRequest } from '../../../ports/bases.js';
import { ArchiveEntries } from './entries.js';
import type { SparseFile } from './sparse-file.js';
import type { Bytes } from './streams.js';
import { labelOf, type Subject, withOption } from './subject.js';

/** What is known of an entry while it is read. */
interface State {
  /** Its beginning, until it is known whether it is taken. */
  head: Buffer[];
  headBytes: number;
  isDecided: boolean;
}

const newState = (): State => ({ head: [], headBytes: 0, isDecided: false });
const noneYet = (): { count: number; names: string[] } => ({ count: 0, names: [] });

/** Writes the disk that is in a tar archive to a file, while the archive is read once. Nothing else is written anywhere. */
export class ArchiveReader {
  readonly #subject: Subject;
  readonly #target: SparseFile;
  readonly #disk: string | undefined;
  readonly #maxBytes: number;
  readonly #signal: AbortSignal | undefined;
  /** Entries that match, by how they do: what is a disk, or has the given name with or without directories. */
  readonly #found = { whole: noneYet(), base: noneYet() };
  readonly #others: string[] = [];
  #state = newState();
  #taken: Entry | undefined;

  constructor(
    subject: Subject,
    target: SparseFile,
    { disk, maxBytes, signal }: Pick<ImportRequest, 'disk' | 'signal'> & { maxBytes: number },
  ) {
    this.#subject = subject;
    this.#target = target;
    this.#disk = disk;
    this.#maxBytes = maxBytes;
    this.#signal = signal;
  }

  /** @returns the name of the entry that was written; @throws BASE_REFUSED */
  async read(stream: Bytes): Promise<string> {
    const entries = await ArchiveEntries.open(this.#subject, this.#maxBytes);
    for await (const chunk of stream) {
      for (const piece of entries.take(chunk)) await this.#handle(piece);
    }
    entries.end();
    return this.#chosen();
  }

  /** Entries come one after the other. */
  async #handle({ entry, part }: Piece): Promise<void> {
    if (part !== undefined) await this.#handlePart(entry, part);
    else {
      if (!this.#state.isDecided) await this.#decide(entry);
      this.#state = newState();
    }
  }

  async #handlePart(entry: Entry, part: Part): Promise<void> {
    if (this.#state.isDecided) {
      if (entry === this.#taken) await this.#write(part);
      return;
    }
    const missing = archiveLimits.headBytes - this.#state.headBytes;
    const piece = typeof part === 'number' ? Buffer.alloc(Math.min(part, missing)) : part;
    this.#state.head.push(piece);
    this.#state.headBytes += piece.length;
    if (this.#state.headBytes < archiveLimits.headBytes) return;
    await this.#decide(entry);
    if (typeof part === 'number' && part > missing) await this.#handlePart(entry, part - missing);
  }

  async #write(part: Part): Promise<void> {
    if (typeof part === 'number') await this.#target.skip(part, this.#signal);
    else await this.#target.write(part);
  }

  async #decide(entry: Entry): Promise<void> {
    const head = Buffer.concat(this.#state.head.splice(0));
    this.#state.isDecided = true;
    const match = this.#disk === undefined ? undefined : matchOf(entry.name, this.#disk);
    const isCandidate = this.#disk === undefined ? isDiskEntry({ ...entry, head }) : match !== undefined;
    if (!isCandidate) {
      if (this.#others.length <= archiveLimits.shownNames) this.#others.push(entry.name);
      return;
    }
    const { whole, base } = this.#found;
    const isBetter = whole.count === 0 && (match === 'whole' || base.count === 0);
    const kind = this.#found[match ?? 'base'];
    kind.count++;
    if (kind.names.length <= archiveLimits.shownNames) kind.names.push(entry.name);
    const isAmbiguous = whole.count > 1 || (whole.count === 0 && base.count > 1);
    if (!isBetter && !isAmbiguous) return;
    await this.#target.restart();
    this.#taken = isAmbiguous ? undefined : entry;
    if (!isAmbiguous) await this.#target.write(head);
  }

  #chosen(): string {
    const { count, names } = this.#found.whole.count > 0 ? this.#found.whole : this.#found.base;
    const [only] = names;
    if (only !== undefined && count === 1) return only;
    const findings = { count, candidates: names, others: this.#others };
    throw archiveRefusal(labelOf(this.#subject), findings, this.#disk, (name) => withOption(this.#subject, `--disk ${shellWord(name)}`));
  }
}

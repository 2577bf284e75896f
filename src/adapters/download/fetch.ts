import { isDiskFull } from '../../core/errors.js';
import { ifRange, type Validators } from '../../core/image/download/ranges.js';
import { judgeReply, validatorsOf } from '../../core/image/download/reply.js';
import { type Address, parseAddress, shownUrl } from '../../core/image/download/url.js';
import type { Download, DownloadRequest } from '../../ports/downloads.js';
import { bootId, type DownloadCache, type PartRecord } from './cache.js';
import { AttemptFailure } from './failures.js';
import { garbageLimit } from './garbage.js';
import { assertSuccess, type HttpClient, type Reply } from './http.js';
import type { DownloadLimits } from './limits.js';
import { type Digests, PartFile } from './part-file.js';
import { retried } from './retried.js';
import { throttled } from './throttled.js';
import * as verdicts from './verdicts.js';

export interface FetchContext {
  cache: DownloadCache;
  client: HttpClient;
  limits: DownloadLimits;
}

/** One download: attempts, continuation, checks. */
export class Fetch {
  readonly #context: FetchContext;
  readonly #request: DownloadRequest;
  readonly #address: Address;
  readonly #part: PartFile;
  #record: PartRecord | undefined;
  /** Where redirects led in the last attempt: another server may have another version. */
  #mirror: Address | undefined;
  #final: URL;
  /** Bytes of the last attempt. */
  #brought = 0;
  /** Whether the content is from more than one reply. */
  #isContinued = false;
  readonly #report: ReturnType<typeof throttled>;

  private constructor(context: FetchContext, request: DownloadRequest, address: Address, part: PartFile) {
    this.#context = context;
    this.#request = request;
    this.#address = address;
    this.#final = address.url;
    this.#part = part;
    this.#report = throttled(request.onProgress);
  }

  static async run(context: FetchContext, request: DownloadRequest): Promise<Download> {
    const { cache } = context;
    const address = parseAddress(request.url);
    await cache.prepare();
    const path = cache.partOf(address.url);
    const part = new PartFile(await cache.openPart(address.url), path, request.expected?.sha512 !== undefined);
    try {
      return await new Fetch(context, request, address, part).#run(path);
    } finally {
      await part.close();
    }
  }

  get #url(): URL {
    return this.#address.url;
  }

  async #run(path: string): Promise<Download> {
    const { cache } = this.#context;
    try {
      if (!(await this.#isComplete())) await this.#retried();
      let wrong = verdicts.mismatch(this.#part.digests(), this.#request.expected ?? {});
      if (wrong !== undefined && this.#isContinued) {
        this.#request.onNote?.(`The digest of ${shownUrl(this.#url)} is wrong after a continued download. Starting again.`);
        await this.#restart();
        await this.#retried();
        wrong = verdicts.mismatch(this.#part.digests(), this.#request.expected ?? {});
      }
      if (wrong !== undefined) throw await this.#refused(verdicts.wrongDigest(this.#url, wrong));
      return this.#result(path);
    } catch (error) {
      if (isDiskFull(error)) throw await this.#refused(verdicts.fullDisk(this.#url, cache.directory, error));
      // Nothing that the next run could continue.
      if (this.#part.bytes === 0) await cache.remove(this.#url);
      throw error;
    }
  }

  #result(path: string): Download {
    const { etag, lastModified } = this.#record ?? {};
    const { sha256, sha512 }: Digests = this.#part.digests();
    return { url: shownUrl(this.#final), path, bytes: this.#part.bytes, sha256, sha512, etag, lastModified };
  }

  /** Continues an earlier run if possible. @returns whether it downloaded everything already, which only a digest can tell */
  async #isComplete(): Promise<boolean> {
    const { cache, limits } = this.#context;
    const { expected = {}, signal, onNote, maxBytes } = this.#request;
    const size = await this.#part.size();
    if (size === 0) return false;
    const record = await cache.readRecord(this.#url);
    const hasDigest = expected.sha256 !== undefined || expected.sha512 !== undefined;
    const isDurable = hasDigest || record?.bootId === (await bootId());
    if (record === undefined || ifRange(record) === undefined || !isDurable || size > maxBytes || size > (record.bytes ?? size)) {
      await this.#restart();
      return false;
    }
    this.#record = record;
    this.#isContinued = true;
    const total = record.bytes === undefined ? '' : ` of ${verdicts.bytesText(record.bytes)}`;
    onNote?.(`Continuing an earlier download of ${shownUrl(this.#url)}: ${verdicts.bytesText(size)}${total} are there.`);
    // For its answer to an abort.
    await retried(() => this.#part.resume(this.#report, signal), { url: this.#url, limits, signal });
    return hasDigest && verdicts.mismatch(this.#part.digests(), expected) === undefined;
  }

  async #retried(): Promise<void> {
    const { limits } = this.#context;
    const { signal, onNote } = this.#request;
    await retried(() => this.#attempt(), { url: this.#url, limits, signal, onNote, brought: () => this.#brought });
  }

  async #attempt(): Promise<void> {
    this.#brought = 0;
    const mirror = this.#mirror;
    this.#mirror = undefined;
    try {
      await this.#receive(mirror ?? this.#address);
    } catch (error) {
      // The next attempt asks the original server for another one.
      if (mirror !== undefined && error instanceof AttemptFailure && !error.facts.isTransient) {
        throw new AttemptFailure(error.message, { ...error.facts, isTransient: true });
      }
      throw error;
    } finally {
      // Digests and the size of the file are those of what was received.
      await this.#part.flush();
    }
  }

  async #receive(address: Address): Promise<void> {
    const { client } = this.#context;
    const { signal } = this.#request;
    let from = this.#part.bytes;
    const version = ifRange(this.#record ?? {});
    if (from > 0 && version === undefined) {
      await this.#restart();
      from = 0;
    }
    const headers: Record<string, string> = from > 0 && version !== undefined ? { range: `bytes=${from}-`, 'if-range': version } : {};
    const reply = await client.open(address, { method: 'GET', headers, signal });
    try {
      this.#final = reply.address.url;
      const total = await this.#accept(reply, from);
      if (total !== 'complete') await this.#read(reply, total);
      if (this.#part.bytes === 0) throw await this.#refused(verdicts.emptyFile(this.#url));
    } finally {
      reply.discard();
    }
  }

  /** Prepares part and record for the reply. @returns bytes of the complete file; undefined if the server does not say */
  async #accept(reply: Reply, from: number): Promise<number | undefined | 'complete'> {
    const verdict = judgeReply(reply, { bytes: from, record: this.#record });
    if (verdict.kind === 'complete') return 'complete';
    if (verdict.kind === 'again') return this.#again(verdict.why);
    assertSuccess(reply);
    if (verdict.kind !== 'begin' && verdict.kind !== 'continue') {
      throw new AttemptFailure(`the server replied with the unexpected status ${reply.status}`, { isTransient: false });
    }
    const { total } = verdict;
    if (verdict.kind === 'continue') {
      this.#isContinued = true;
      if (total !== undefined) await this.#assertFits(total, from);
      return total;
    }
    // The login page of a network says nothing about what is there.
    verdicts.assertNoPage(this.#url, reply.header('content-type'), Buffer.alloc(0));
    if (from > 0) {
      this.#request.onNote?.(`${shownUrl(this.#url)} has changed, or cannot be continued. Starting again.`);
      await this.#restart();
    }
    return this.#begin(validatorsOf(reply), total);
  }

  async #begin(validators: Validators, total: number | undefined): Promise<number | undefined> {
    if (total !== undefined) await this.#assertFits(total, 0);
    this.#record = await this.#context.cache.writeRecord(this.#url, { ...validators, bytes: total, bootId: await bootId() });
    return total;
  }

  async #assertFits(total: number, there: number): Promise<void> {
    const { cache } = this.#context;
    try {
      verdicts.assertSize(this.#url, total, this.#request.maxBytes, true);
      verdicts.assertSpace(this.#url, total - there, await cache.freeBytes(), cache.directory);
    } catch (error) {
      throw await this.#refused(error);
    }
  }

  async #read(reply: Reply, total: number | undefined): Promise<void> {
    let isChecked = false;
    const limitGarbage = garbageLimit();
    for await (const chunk of reply.chunks()) {
      limitGarbage(chunk.length);
      if (total !== undefined && this.#part.bytes + chunk.length > total) return this.#again('the server sent more than it said');
      await this.#part.append(chunk);
      this.#brought += chunk.length;
      if (this.#part.bytes > this.#request.maxBytes)
        await this.#check(() => verdicts.assertSize(this.#url, this.#part.bytes, this.#request.maxBytes, false));
      if (!isChecked && this.#part.bytes >= 1024) {
        await this.#check(() => verdicts.assertNoPage(this.#url, undefined, this.#part.head));
        isChecked = true;
      }
      this.#mirror = reply.address;
      this.#report({ doneBytes: this.#part.bytes, totalBytes: total });
    }
    if (total !== undefined && this.#part.bytes < total) {
      const [is, whole] = [this.#part.bytes, total].map(verdicts.bytesText);
      throw new AttemptFailure(`the connection ended after ${is} of ${whole}`, { isTransient: true });
    }
    if (!isChecked) await this.#check(() => verdicts.assertNoPage(this.#url, undefined, this.#part.head));
    this.#report({ doneBytes: this.#part.bytes, totalBytes: total }, true);
  }

  async #check(assert: () => void): Promise<void> {
    try {
      assert();
    } catch (error) {
      throw await this.#refused(error);
    }
  }

  /** Drops what is there and asks for the whole file. */
  async #again(reason: string): Promise<never> {
    await this.#restart();
    throw new AttemptFailure(reason, { isTransient: true, isImmediate: true });
  }

  async #restart(): Promise<void> {
    await this.#part.restart();
    this.#record = undefined;
    this.#isContinued = false;
    this.#brought = 0;
  }

  /** Removes what is there. @returns the error */
  async #refused(error: unknown): Promise<unknown> {
    await this.#context.cache.remove(this.#url);
    return error;
  }
}

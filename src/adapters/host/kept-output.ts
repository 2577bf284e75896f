import { StringDecoder } from 'node:string_decoder';

/** Keeps the beginning of a stream; the rest is read and discarded, so that the writer does not block. */
export class KeptOutput {
  readonly #chunks: Buffer[] = [];
  #room: number;
  isCut = false;

  /** @param onText called with the kept text as it arrives, never with partial characters */
  constructor(stream: NodeJS.ReadableStream | null, keepBytes: number, onText: (text: string) => void) {
    this.#room = keepBytes;
    const decoder = new StringDecoder('utf8');
    const tell = (text: string): unknown => text !== '' && onText(text);
    stream?.on('data', (chunk: Buffer) => {
      if (chunk.length > this.#room) this.isCut = true;
      const piece = chunk.subarray(0, this.#room);
      if (piece.length > 0) this.#chunks.push(piece);
      tell(decoder.write(piece));
      this.#room = Math.max(0, this.#room - chunk.length);
    });
    stream?.on('end', () => tell(decoder.end()));
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString('utf8');
  }
}

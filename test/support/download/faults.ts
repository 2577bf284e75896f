/** What a file server does instead of answering normally. Offsets count bytes of this reply's body. */
export type Fault =
  /** Closes the connection. */
  | { kind: 'cut'; after: number }
  /** Sends nothing more, and leaves the connection open. */
  | { kind: 'stall'; after: number }
  /** Closes the connection before any reply. */
  | { kind: 'hang up' }
  /** Accepts the request and never replies. */
  | { kind: 'silence' }
  | { kind: 'status'; status: number; headers?: Record<string, string>; body?: string }
  | { kind: 'redirect'; to: string; status?: number }
  /** Replies with 206 and a Content-Range of another place. */
  | { kind: 'wrong range' }
  /** Replies with 200 and everything. */
  | { kind: 'ignore range' }
  | { kind: 'html'; contentType?: string }
  /** No Content-Length. */
  | { kind: 'chunked' }
  /** Zeros without an end and without a Content-Length. */
  | { kind: 'endless' }
  /** Announces another length than it sends. */
  | { kind: 'wrong length'; announced: number }
  | { kind: 'encoded'; encoding: string }
  /** Sends other bytes than the file has. */
  | { kind: 'flip'; at: number }
  /** Sends a piece, waits until the promise resolves, and continues. */
  | { kind: 'hold'; after: number; until: Promise<unknown> };

export const page = '<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Welcome to the hotel.</body></html>\n';

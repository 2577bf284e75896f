import { type RetryRules, retryRules } from '../../core/image/download/retry.js';

/** Limits of downloads; tests shorten them. */
export interface DownloadLimits {
  /** For a connection, in milliseconds, including the TLS handshake. */
  connectMs: number;
  /** Without a single byte, in milliseconds. */
  idleMs: number;
  /** For a whole text, in milliseconds. */
  textMs: number;
  redirects: number;
  retry: RetryRules;
  /** As Math.random. */
  random: () => number;
}

export const downloadLimits: DownloadLimits = {
  connectMs: 30_000,
  idleMs: 60_000,
  textMs: 300_000,
  redirects: 10,
  retry: retryRules,
  random: Math.random,
};

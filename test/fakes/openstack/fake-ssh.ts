import { OpenSsh } from '../../../src/adapters/host/ssh.js';
import { guestText } from '../../../src/core/guest/text.js';
import type { RemoteResult, SshEndpoint } from '../../../src/ports/index.js';

/** ssh that connects to nothing: sshd answers where a test says so, and a command returns where and as whom it would have run. */
export class FakeSsh extends OpenSsh {
  /** Addresses at which sshd answers. */
  readonly answering = new Set<string>();

  override async answers(host: string): Promise<boolean> {
    return this.answering.has(host);
  }

  override async run(endpoint: SshEndpoint, argv: readonly string[]): Promise<RemoteResult> {
    return { exitCode: 0, stdout: guestText(JSON.stringify({ ...endpoint, argv })), stderr: guestText(''), truncated: false };
  }
}

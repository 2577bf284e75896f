/** Messages of the QEMU guest agent (qemu-ga's QMP schema), as cowherd uses them. */

export interface AgentExecStatus {
  exited: boolean;
  /** As a shell counts: 128 and the signal's number where it was killed by one. */
  exitCode: number;
  stdout: Buffer;
  stderr: Buffer;
  /** The agent kept only part of the output. */
  truncated: boolean;
}

/** @param input for the program's standard input */
export function execCommand(argv: readonly string[], input?: string): object {
  const [path = '', ...arg] = argv;
  const stdin = input === undefined ? {} : { 'input-data': Buffer.from(input).toString('base64') };
  return { execute: 'guest-exec', arguments: { path, arg, ...stdin, 'capture-output': true } };
}

export function parseExecStatus(answer: unknown): AgentExecStatus {
  const status = record(answer);
  const signal = Number(status.signal ?? 0);
  return {
    exited: status.exited === true,
    exitCode: signal > 0 ? 128 + signal : Number(status.exitcode ?? 0),
    stdout: Buffer.from(String(status['out-data'] ?? ''), 'base64'),
    stderr: Buffer.from(String(status['err-data'] ?? ''), 'base64'),
    truncated: status['out-truncated'] === true || status['err-truncated'] === true,
  };
}

/** IPv4 addresses other than loopback, of `guest-network-get-interfaces`, by MAC. */
export function parseInterfaces(answer: unknown): Array<{ mac: string; ip: string }> {
  const interfaces = Array.isArray(answer) ? answer.map(record) : [];
  return interfaces.flatMap((item) => {
    const mac = String(item['hardware-address'] ?? '').toLowerCase();
    const addresses = Array.isArray(item['ip-addresses']) ? item['ip-addresses'].map(record) : [];
    return addresses
      .filter((address) => address['ip-address-type'] === 'ipv4' && !String(address['ip-address']).startsWith('127.'))
      .map((address) => ({ mac, ip: String(address['ip-address']) }));
  });
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

import { parseDomainEvent } from '../../core/events/libvirt-event.js';
import type { DomainEventListener } from '../../ports/events.js';
import { systemClock } from '../host/clock.js';
import { openTool } from '../process.js';

/** Pauses between attempts to connect, in milliseconds. */
const retryMs = { first: 250, most: 5_000, growth: 2 };
/** Bytes without a line break. */
const longestLine = 8 * 1024;

/** Reads `virsh event` for all domains, and starts it again when libvirtd was restarted. */
export async function watchDomains(uri: string, listener: DomainEventListener, signal: AbortSignal): Promise<void> {
  for (let pause = retryMs.first; !signal.aborted; pause = Math.min(retryMs.most, pause * retryMs.growth)) {
    const { wasConnected, reason } = await readEvents(uri, listener, signal);
    if (signal.aborted) return;
    listener.onDisconnect(reason);
    if (wasConnected) pause = retryMs.first;
    await systemClock.sleep(pause, signal);
  }
}

/**
 * virsh registers for each type of event with a call, and does not say when it is done: what happened before is found by comparing
 * states then. Milliseconds after the connection; the second time for a busy libvirtd.
 */
const registeredMs = [300, 5_000];

function readEvents(uri: string, listener: DomainEventListener, signal: AbortSignal): Promise<{ wasConnected: boolean; reason: string }> {
  return new Promise((resolve, reject) => {
    // virsh begins with this line once it is connected.
    const tool = openTool('virsh', ['-c', uri, 'echo connected; event --all --loop --timestamp']);
    const timers: NodeJS.Timeout[] = [];
    let rest = '';
    let complaint = '';
    const stop = (): void => tool.kill();
    signal.addEventListener('abort', stop, { once: true });
    tool.onStdout((chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = (lines.pop() ?? '').slice(0, longestLine);
      for (const line of lines) {
        if (line === 'connected' && timers.length === 0) timers.push(...registeredMs.map((after) => setTimeout(listener.onConnect, after)));
        const event = parseDomainEvent(line);
        if (event !== undefined) listener.onEvent(event);
      }
    });
    tool.onStderr((chunk) => {
      complaint = (complaint + chunk).slice(0, longestLine);
    });
    tool.onEnd((error) => {
      timers.map(clearTimeout);
      signal.removeEventListener('abort', stop);
      if (error !== undefined) reject(error);
      else {
        const reason = complaint.replace(/^error: /, '').split('\n')[0];
        resolve({ wasConnected: timers.length > 0, reason: reason || 'the connection to libvirt ended' });
      }
    });
  });
}

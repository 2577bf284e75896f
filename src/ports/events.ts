import type { DomainEvent } from '../core/events/libvirt-event.js';

/** Ports that report changes as they happen. */

export interface DomainEventListener {
  onEvent(event: DomainEvent): void;
  /** Called at the first connection and after each interruption: events in between are lost. */
  onConnect(): void;
  /** Called when the connection was lost or could not be made; it is tried again until the signal. @param reason for display */
  onDisconnect(reason: string): void;
}

export interface EventSources {
  /** Reports events of all domains, until the signal. @throws TOOL_MISSING */
  watchDomains(listener: DomainEventListener, signal: AbortSignal): Promise<void>;
  /**
   * Reports changes of fleets in the store, until the signal.
   * @param onChange called with the name of a fleet whose files, checkpoints or lock may have changed; several changes may be one call
   * @throws STORE_FAILED if the kernel allows no more watches
   */
  watchFleets(onChange: (fleet: string) => void, signal: AbortSignal): Promise<void>;
}

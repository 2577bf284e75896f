import type { Ports } from '../../ports/index.js';
import { copyInFleets } from '../guest/copy.js';
import { execInFleets } from '../guest/exec.js';
import { inventory } from '../guest/inventory.js';
import { login } from '../guest/login.js';
import { logs } from '../guest/logs.js';
import type { Engine } from './engine.js';

export function localGuestVerbs(ports: Ports): Pick<Engine, 'exec' | 'copy' | 'login' | 'inventory' | 'logs'> {
  return {
    exec: (options) => execInFleets(ports, options),
    copy: (request) => copyInFleets(ports, request),
    login: (words, command) => login(ports, words, command),
    inventory: (fleet, members) => inventory(ports, fleet, members),
    logs: (options) => logs(ports, options),
  };
}

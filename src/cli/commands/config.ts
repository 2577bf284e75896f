import { effectiveSettings } from '../../services/host/settings.js';
import { BaseCommand } from '../base-command.js';
import { builtInDefaults, readDefaults } from '../defaults.js';
import { renderSettings } from '../render/config.js';

export default class Config extends BaseCommand {
  static override summary = 'Show the defaults that are in force, and where each comes from.';
  static override description = `A flag counts most, then the environment, then cowherd.yaml in or above the working directory, then
~/.config/cowherd/config.yaml, then what is built in. A file may set connect, store, network, seed, sshKeys and template; paths in it are
relative to it. network, seed, sshKeys and template count for new fleets alone; a fleet that exists stays as it is.`;
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];

  async run() {
    const { flags, raw } = await this.parse(Config);
    const { settings, ignored } = await readDefaults();
    const isFlag = (name: string): boolean => raw.some((token) => token.type === 'flag' && token.flag === name);
    const given = {
      ...(isFlag('connect') ? { connect: flags.connect } : {}),
      ...(isFlag('store') ? { store: flags.store } : {}),
    };
    const builtIn = await builtInDefaults(given.connect ?? settings.connect?.value);
    const result = { settings: effectiveSettings(given, settings, builtIn), ignored };
    this.log(renderSettings(result));
    return result;
  }
}

import { effectiveSettings } from '../../services/host/settings.js';
import { BaseCommand } from '../base-command.js';
import { builtInDefaults, readDefaults } from '../defaults.js';
import { renderSettings } from '../render/config.js';

export default class Config extends BaseCommand {
  static override summary = 'Show the effective defaults and the source of each.';
  static override description = [
    'Flags take precedence over the environment, then cowherd.yaml in or above the working directory, then ~/.config/cowherd/config.yaml, then the built-in defaults.',
    'A file may set connect, store, network, seed, sshKeys, template and catalog; paths in it are relative to the file.',
    'network, seed, sshKeys and template apply to new fleets only; existing fleets do not change.',
  ].join(' ');
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

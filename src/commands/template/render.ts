import { Args, Flags } from '@oclif/core';
import { BaseCommand } from '../../base-command.js';
import { renderMember } from '../../services/templates.js';
import { specFlags, specOf } from '../../spec-flags.js';

export default class TemplateRender extends BaseCommand {
  static override summary = "Print one member's domain XML as spawn would define it. Changes nothing.";
  static override examples = [
    { description: 'Of a fleet that exists', command: '<%= config.bin %> <%= command.id %> lab 3' },
    {
      description: 'Of one that does not yet',
      command: '<%= config.bin %> <%= command.id %> lab --base golden --template domain.xml.hbs --memory 1GiB',
    },
  ];
  static override args = {
    fleet: Args.string({ description: 'name of the fleet', required: true }),
    member: Args.integer({ description: 'number of the member', default: 1, min: 1 }),
  };
  static override flags = {
    base: Flags.string({ char: 'b', description: 'base image in the store, for a fleet that does not exist yet', helpValue: 'NAME' }),
    ...specFlags,
  };

  async run() {
    const { args, flags } = await this.parse(TemplateRender);
    const spec = specOf(flags);
    return this.onHost(flags, async (host) => {
      const result = await renderMember(host, {
        fleet: args.fleet,
        index: args.member,
        base: flags.base,
        template: flags.template,
        spec,
      });
      this.log(result.xml.trimEnd());
      return result;
    });
  }
}

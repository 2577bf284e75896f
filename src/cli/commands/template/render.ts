import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../../core/errors.js';
import type { Host } from '../../../host.js';
import { renderMember, renderSeedPart } from '../../../services/fleet/spawn/input/templates.js';
import { BaseCommand } from '../../base-command.js';
import { specFlags, specOf } from '../../flags/spec.js';

export default class TemplateRender extends BaseCommand {
  static override summary = 'Print the domain XML of a member, or part of its seed, without changing anything.';
  static override examples = [
    { description: 'Of an existing fleet', command: '<%= config.bin %> <%= command.id %> lab 3' },
    { description: 'Its cloud-init user-data', command: '<%= config.bin %> <%= command.id %> lab 3 --part user-data' },
    {
      description: 'Of a fleet that does not exist yet',
      command: '<%= config.bin %> <%= command.id %> lab --base golden --template domain.xml.hbs --memory 1GiB',
    },
  ];
  static override args = {
    fleet: Args.string({ description: 'name of the fleet', required: true }),
    // Not Args.integer: its error is not a ParserError, so it would be reported as a bug.
    member: Args.custom<number>({ description: 'number of the member [default: 1]', parse: memberNumber })(),
  };
  static override flags = {
    base: Flags.string({ char: 'b', description: 'base image in the store, for a fleet that does not exist yet', helpValue: 'NAME' }),
    part: Flags.option({
      description: 'part to print; secrets in seeds are masked',
      options: ['domain', 'user-data', 'meta-data', 'network-config'] as const,
      default: 'domain' as const,
    })(),
    ...specFlags,
  };

  async run() {
    const { args, flags } = await this.parse(TemplateRender);
    const spec = specOf(flags);
    return this.onHost(flags, async (host) => {
      const { fleet, index } = await memberToRender(host, args.fleet, args.member);
      if (flags.part !== 'domain') {
        const seed = await renderSeedPart(host, { fleet, index, part: flags.part });
        this.log(seed.text.trimEnd());
        return seed;
      }
      const result = await renderMember(host, {
        fleet,
        index,
        base: flags.base,
        template: flags.template,
        spec,
      });
      this.log(result.xml.trimEnd());
      return result;
    });
  }
}

/** `lab`, `lab 3` or `lab-003`; the fleet need not exist. */
async function memberToRender({ fleets }: Pick<Host, 'fleets'>, fleet: string, index?: number): Promise<{ fleet: string; index: number }> {
  const [, prefix = '', number] = /^(.+)-(\d{1,6})$/.exec(fleet) ?? [];
  const known = number === undefined || index !== undefined ? [] : await fleets.list();
  if (known.includes(fleet) || !known.includes(prefix)) return { fleet, index: index ?? 1 };
  return { fleet: prefix, index: await memberNumber(String(Number(number))) };
}

async function memberNumber(text: string): Promise<number> {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is not a member number`, { hint: 'Members are numbered from 1.' });
}

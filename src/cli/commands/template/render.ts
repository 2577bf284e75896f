import { Args, Flags } from '@oclif/core';
import { CowherdError } from '../../../core/errors.js';
import type { Host } from '../../../host.js';
import { renderMember, renderSeedPart } from '../../../services/fleet/spawn/templates.js';
import { BaseCommand } from '../../base-command.js';
import { specFlags, specOf } from '../../flags/spec.js';

export default class TemplateRender extends BaseCommand {
  static override summary = "Print one member's domain XML, or a part of its seed, as spawn would make it. Changes nothing.";
  static override examples = [
    { description: 'Of a fleet that exists', command: '<%= config.bin %> <%= command.id %> lab 3' },
    { description: 'What its cloud-init is told', command: '<%= config.bin %> <%= command.id %> lab 3 --part user-data' },
    {
      description: 'Of one that does not yet',
      command: '<%= config.bin %> <%= command.id %> lab --base golden --template domain.xml.hbs --memory 1GiB',
    },
  ];
  static override args = {
    fleet: Args.string({ description: 'name of the fleet', required: true }),
    // Not Args.integer, whose complaint is no parser's error to oclif: it would be taken for a bug.
    member: Args.custom<number>({ description: 'number of the member [default: 1]', parse: memberNumber })(),
  };
  static override flags = {
    base: Flags.string({ char: 'b', description: 'base image in the store, for a fleet that does not exist yet', helpValue: 'NAME' }),
    part: Flags.option({
      description: 'which part; secrets in those of a seed are covered',
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
  throw new CowherdError('BAD_USAGE', `${JSON.stringify(text)} is not the number of a member`, { hint: 'Members are numbered from 1.' });
}

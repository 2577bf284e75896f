import Handlebars from 'handlebars';
import { CowherdError } from '../errors.js';
import { diskTargets, memberDisks } from '../fleet/disks.js';
import type { MemberIdentity } from '../fleet/identity.js';
import { type BaseRef, baseOf, type FleetRecord } from '../fleet/record.js';
import { type CpuOffers, cpuXml } from '../host/cpu.js';
import type { BaseImage } from '../image/base.js';
import { parseNetwork } from '../spec/flag-values.js';
import { backingXml, memberMetadata } from './domain-xml.js';
import { assertDepth } from './template-depth.js';

/** What the host offers to domains, from libvirt's domain capabilities. */
export interface Platform {
  virtType: 'kvm' | 'qemu';
  arch: string;
  machine: string;
  emulator: string;
  /** Whether a UEFI firmware is installed. */
  hasUefi: boolean;
  /** Whether TPMs can be emulated. */
  hasTpm: boolean;
  /** The CPU of members, as in the spec; undefined for QEMU's default. */
  cpu?: string | undefined;
  /** The CPUs that it offers. */
  cpus?: CpuOffers;
}

export interface MemberFiles {
  overlay: string;
  consoleLog: string;
  /** A disk by its stem; the overlay's stem is the member's name. */
  disk: (stem: string) => string;
  /** The variables of its UEFI firmware, if the fleet uses UEFI. */
  nvram: string;
  /** The cloud-init seed, if the fleet has seeds. */
  seed: string;
  /** Socket of the guest agent; undefined if libvirt chooses it. */
  agentSocket: string | undefined;
}

export interface TemplateOptions {
  /** The origin of the template, for messages. */
  origin: string;
  /** `xml`: escapes every value. `yaml`: escapes none; use the helpers json and indent. */
  escape: 'xml' | 'yaml';
  /** The command that writes the built-in template to a file. */
  ejectCommand: string;
}

/**
 * Compiles a Handlebars template. A variable that does not exist is an error.
 * @throws BAD_TEMPLATE at once if it cannot be parsed, later if it cannot be rendered
 */
export function compileTemplate(source: string, options: TemplateOptions): (context: object) => string {
  const engine = Handlebars.create();
  // JSON strings are valid YAML, whatever they contain.
  engine.registerHelper('json', (value: unknown) => JSON.stringify(value ?? null));
  engine.registerHelper('indent', (width: number, text: string) => indent(width, text));
  // It would write to cowherd's output.
  engine.registerHelper('log', () => {
    throw new Error('the helper log is not allowed');
  });
  const budget = boundLoops(engine);
  let render: HandlebarsTemplateDelegate;
  try {
    assertDepth(source);
    // The parser needs quadratic time in the number of tags.
    if (source.split('{{', maxTags + 1).length > maxTags) throw new Error(`it has more than ${maxTags} tags`);
    new NoPartials().accept(engine.parse(source));
    // Handlebars' escapes are valid XML.
    render = engine.compile(source, { strict: true, noEscape: options.escape !== 'xml' });
  } catch (cause) {
    throw badTemplate(options, cause);
  }
  return (context) => {
    budget.loops = 0;
    budget.characters = 0;
    try {
      const text = render(context);
      if (text.length > maxCharacters) throw new Error(tooMuch);
      return text;
    } catch (cause) {
      throw badTemplate(options, cause);
    }
  };
}

/** Limits for one rendering, far above what the built-in templates need with a hundred keys. */
const maxLoops = 20_000;
const maxTags = 2_000;
const maxCharacters = 4 * 1024 * 1024;
const maxIndent = 200;
const tooMuch = `it produces more than ${maxCharacters / 1024 / 1024} MiB of text`;

/** Without partials, only nested loops can run very long. */
function boundLoops(engine: typeof Handlebars): { loops: number; characters: number } {
  const budget = { loops: 0, characters: 0 };
  const each = engine.helpers.each;
  engine.registerHelper('each', function (this: unknown, items: unknown, options: Handlebars.HelperOptions) {
    const fn: Handlebars.TemplateDelegate = (context, data) => {
      if (++budget.loops > maxLoops) throw new Error(`its {{#each}} blocks run more than ${maxLoops} times`);
      const text = options.fn(context, data);
      budget.characters += text.length;
      if (budget.characters > maxCharacters) throw new Error(tooMuch);
      return text;
    };
    return each?.call(this, items, { ...options, fn });
  });
  return budget;
}

/** Partials could recurse, and cowherd has none. */
class NoPartials extends Handlebars.Visitor {
  override PartialStatement(partial: hbs.AST.PartialStatement): void {
    refuseAt('partials {{> …}}', partial);
  }
  override PartialBlockStatement(partial: hbs.AST.PartialBlockStatement): void {
    refuseAt('partials {{#> …}}', partial);
  }
  override DecoratorBlock(decorator: hbs.AST.DecoratorBlock): void {
    refuseAt('decorators {{#* …}}', decorator);
  }
  override Decorator(decorator: hbs.AST.Decorator): void {
    refuseAt('decorators {{* …}}', decorator);
  }
}

function refuseAt(what: string, { loc }: hbs.AST.Node): never {
  throw new Error(`${what} are not allowed (line ${loc.start.line})`);
}

/** Indents every line that is not empty. */
function indent(width: number, text: string): string {
  if (!Number.isInteger(width) || width < 0 || width > maxIndent) throw new Error(`{{indent}} takes a width of 0 to ${maxIndent}`);
  return text.trimEnd().replace(/^(?=.)/gm, ' '.repeat(width));
}

/** The base images of disks. Throws for a missing one. */
export type BaseLookup = (ref: BaseRef) => BaseImage;

export type DomainTemplate = (record: FleetRecord, member: MemberIdentity, files: MemberFiles) => string;

/** @throws BAD_TEMPLATE */
export function compileDomainTemplate(source: string, origin: string, imageOf: BaseLookup, platform: Platform): DomainTemplate {
  const render = compileTemplate(source, { origin, escape: 'xml', ejectCommand: 'cowherd template eject' });
  return (record, member, files) => {
    const { spec } = record;
    const base = imageOf(baseOf(record, member));
    const { targets, seed: seedTarget } = diskTargets(spec.disks);
    const isUefi = spec.firmware === 'uefi';
    return render({
      ...memberContext(record, member),
      metadata: memberMetadata(record, member),
      memoryMiB: spec.memoryMiB,
      vcpus: spec.vcpus,
      ...platform,
      // The x86 builds of the firmware need it.
      machine: isUefi && platform.arch === 'x86_64' ? 'q35' : platform.machine,
      uefi: isUefi,
      nvram: files.nvram,
      tpm: spec.tpm,
      backing: backingXml(base),
      disks: memberDisks(record, member)
        .slice(1)
        .map(({ stem, origin }, position) => ({
          name: spec.disks[position]?.name ?? '',
          bus: spec.disks[position]?.bus ?? '',
          target: targets[position] ?? '',
          path: files.disk(stem),
          backing: 'base' in origin ? backingXml(imageOf(origin.base)) : '<backingStore/>',
        })),
      scsi: spec.disks.some((disk) => disk.bus === 'scsi'),
      cpu: cpuXml(platform.cpu),
      tcg: platform.virtType === 'qemu',
      overlay: files.overlay,
      consoleLog: files.consoleLog,
      seed: {
        none: spec.seed === 'none',
        nocloud: spec.seed === 'nocloud',
        smbios: spec.seed === 'smbios',
        path: files.seed,
        target: seedTarget,
      },
      agentSocket: files.agentSocket ?? '',
      base: { name: base.name, digest: base.digest, path: base.path, format: base.format },
      diskCache: spec.diskCache,
      lean: spec.lean,
      qemuOptions: spec.lean || member.sshPort !== undefined,
    });
  };
}

/** The variables of every template. */
export function memberContext({ name: fleet, spec }: Pick<FleetRecord, 'name' | 'spec'>, member: MemberIdentity): object {
  const network = parseNetwork(spec.network);
  return {
    fleet,
    name: member.name,
    index: member.index,
    uuid: member.uuid,
    mac: member.macs[0] ?? '',
    macs: member.macs,
    address: member.address ?? '',
    sshPort: member.sshPort ?? '',
    network: {
      none: network.kind === 'none',
      user: network.kind === 'user',
      network: network.kind === 'network',
      bridge: network.kind === 'bridge',
      source: network.source,
    },
    vars: spec.variables,
  };
}

/** Docker, Go templates, Jinja and GitHub Actions use the same braces. */
const bracesHint =
  'For "{{" that is meant for the guest, as in docker ps --format, write "\\{{"; or pass the file unchanged with --user-data-raw.';

function badTemplate({ origin, ejectCommand, escape: escaping }: TemplateOptions, cause: unknown): CowherdError {
  const message = cause instanceof Error ? cause.message : String(cause);
  const missing = /^"(\w+)" not defined/.exec(message)?.[1];
  const variables =
    missing === undefined
      ? `"${ejectCommand}" writes the built-in template, which lists every variable.`
      : `Set it with --var ${missing}=VALUE and write it as {{vars.${missing}}}; "${ejectCommand}" lists the built-in ones.`;
  return new CowherdError('BAD_TEMPLATE', `The template ${origin} cannot be rendered`, {
    // A seed template may contain passwords, so only the position is reported.
    details: message.split('\n').slice(0, escaping === 'xml' ? 6 : 1),
    hint: escaping === 'xml' ? variables : `${bracesHint} ${variables}`,
    cause,
  });
}

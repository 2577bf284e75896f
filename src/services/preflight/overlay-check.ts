import prettyBytes from 'pretty-bytes';
import type { BaseLookup } from '../../core/domain/template.js';
import { memberDisks, originBytes } from '../../core/fleet/disks.js';
import type { FleetRecord } from '../../core/fleet/record.js';
import { formatOverlay, formerOverlayFormat, maxDiskBytes } from '../../core/image/overlay-format.js';
import type { Ports } from '../../ports/index.js';
import { atLeast, attempt, type Check, ok } from './checks.js';

const name = 'overlay format';

/** Checks that this host can create and use the disks of a fleet in their format. */
export async function checkOverlays(
  ports: Pick<Ports, 'hypervisor' | 'images'>,
  record: FleetRecord,
  imageOf: BaseLookup,
): Promise<Check[]> {
  const { overlay = formerOverlayFormat } = record.spec;
  const [first] = record.members;
  const largest = Math.max(0, ...(first === undefined ? [] : memberDisks(record, first)).map(({ origin }) => originBytes(origin, imageOf)));
  if (largest > maxDiskBytes(overlay)) {
    const [asked, most] = [largest, maxDiskBytes(overlay)].map((bytes) => prettyBytes(bytes, { binary: true }));
    return [
      {
        name,
        status: 'failed',
        message: `a disk of ${asked} is too large for ${formatOverlay(overlay)}, which reach ${most}`,
        hint: 'Use larger clusters, for example --overlay cluster-size=128KiB.',
      },
    ];
  }
  return overlay.extendedL2 ? [await checkExtendedL2(ports)] : [];
}

/** An older QEMU refuses to open such an image, and its qemu-img to create one. */
function checkExtendedL2({ hypervisor, images }: Pick<Ports, 'hypervisor' | 'images'>): Promise<Check> {
  return attempt(name, async () => {
    const versions = [`qemu-img ${await images.version()}`, (await hypervisor.versions()).hypervisor];
    // An unknown version is tried: QEMU says itself what it does not support.
    const old = versions.find((text) => /\d+\.\d+/.test(text) && !atLeast(text.replace(/^\D+/, ''), 5, 2));
    if (old === undefined) return ok(name, 'extended L2');
    return {
      name,
      status: 'failed',
      message: `extended L2 entries need QEMU 5.2, and this is ${old}`,
      hint: 'Install QEMU 6.0 or newer, or use --overlay extended-l2=off.',
    };
  });
}

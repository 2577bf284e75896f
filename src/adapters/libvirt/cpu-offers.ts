import type { CpuOffers } from '../../core/host/cpu.js';

/** Reads the CPUs that guests can have from `virsh domcapabilities`. libvirt before 7.1 does not know the mode `maximum`. */
export function parseCpuOffers(xml: string): CpuOffers {
  const [cpu = ''] = /<cpu>[\s\S]*?<\/cpu>/.exec(xml) ?? [];
  const custom = cpu.split("<mode name='custom' supported='yes'>")[1] ?? '';
  return {
    modes: [...cpu.matchAll(/<mode name='([^']+)' supported='yes'/g)].map(([, mode]) => mode ?? ''),
    models: [...custom.matchAll(/<model\b[^>]*>([^<]+)<\/model>/g)].map(([, model]) => model ?? ''),
  };
}

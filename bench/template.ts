/** A domain as cowherd defines it, with placeholders that a shell script fills in. */
export function domainTemplate(xml: string, { disk, log }: { disk: string; log: string }): string {
  return xml
    .replace(/<name>[^<]+/, '<name>NAME')
    .replace(/<uuid>[^<]+/, '<uuid>UUID')
    .replace(/<metadata>.*<\/metadata>/s, '')
    .replace(/<source file="[^"]+overlays[^"]+"/, `<source file="${disk}"`)
    .replace(/<log file="[^"]+"/, `<log file="${log}"`);
}

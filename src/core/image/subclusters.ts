/** Parts of a qcow2 cluster with extended L2 entries. Source: QEMU docs/interop/qcow2.txt */

export const subclusters = 32;

/** Adjacent subclusters that are read from the same place: this file, zeros, or the backing file. */
export interface SubclusterRun {
  kind: 'data' | 'zero' | 'backing';
  first: number;
  count: number;
}

/**
 * @param zeros bit per subcluster @param allocated bit per subcluster
 * @param host where the cluster is in the file; 0 if nowhere
 * @returns undefined if the status of a subcluster is invalid: QEMU too refuses the whole cluster
 */
export function subclusterRuns(zeros: number, allocated: number, host: number): SubclusterRun[] | undefined {
  if ((zeros & allocated) !== 0 || (host === 0 && allocated !== 0)) return undefined;
  const isSet = (bits: number, index: number): boolean => ((bits >>> index) & 1) !== 0;
  const runs: SubclusterRun[] = [];
  for (let index = 0; index < subclusters; index++) {
    const kind = isSet(zeros, index) ? 'zero' : isSet(allocated, index) ? 'data' : 'backing';
    const last = runs.at(-1);
    if (last?.kind === kind) last.count++;
    else runs.push({ kind, first: index, count: 1 });
  }
  return runs;
}

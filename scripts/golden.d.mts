export function buildGolden(
  path: string,
  options?: { filledMiB?: number; ending?: 'halt' | 'exit' | 'power-button'; format?: 'qcow2' | 'raw'; virtualMiB?: number },
): Promise<void>;

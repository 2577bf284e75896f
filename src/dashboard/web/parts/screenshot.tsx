import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ErrorReport } from '../../../core/errors.js';
import { readScreenshot, reportOf } from '../net/api.js';
import { clockTime } from '../text/format.js';
import { parsePpm } from '../text/ppm.js';
import { ErrorBox } from './error-box.js';

const maxSide = 8192;

/** A picture of the guest's screen, on request. */
export function Screenshot({ fleet, index, isRunning }: { fleet: string; index: number; isRunning: boolean }): VNode {
  const canvas = useRef<HTMLCanvasElement>(null);
  const stop = useRef<AbortController | null>(null);
  const [takenAt, setTakenAt] = useState<string | null>(null);
  const [isReading, setReading] = useState(false);
  const [error, setError] = useState<ErrorReport | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const take = async (): Promise<void> => {
    if (isReading) return;
    const control = new AbortController();
    stop.current = control;
    setReading(true);
    setError(null);
    try {
      const picture = await readScreenshot(fleet, index, control.signal);
      if (canvas.current !== null) await draw(canvas.current, picture);
      setTakenAt(new Date().toISOString());
    } catch (failure) {
      if (!control.signal.aborted) setError(reportOf(failure));
    }
    setReading(false);
  };
  return (
    <>
      <div class="buttons">
        <button type="button" disabled={!isRunning} aria-disabled={isReading} onClick={() => void take()}>
          {takenAt === null ? 'Take screenshot' : 'Refresh screenshot'}
        </button>
      </div>
      {error !== null && <ErrorBox error={error} title="No screenshot" />}
      {takenAt !== null && <p class="note">Taken at {clockTime(takenAt)}</p>}
      <canvas ref={canvas} class="screenshot" role="img" aria-label="Screenshot of the guest" hidden={takenAt === null} />
    </>
  );
}

async function draw(canvas: HTMLCanvasElement, picture: Blob): Promise<void> {
  const context = canvas.getContext('2d');
  if (context === null) return;
  if (picture.type.startsWith('image/png')) {
    const bitmap = await createImageBitmap(picture);
    const { width, height } = bitmap;
    if (width > maxSide || height > maxSide) throw new Error(`The screenshot has an unexpected size: ${width} × ${height}`);
    Object.assign(canvas, { width, height });
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    return;
  }
  const { width, height, rgba } = parsePpm(new Uint8Array(await picture.arrayBuffer()));
  Object.assign(canvas, { width, height });
  context.putImageData(new ImageData(rgba, width, height), 0, 0);
}

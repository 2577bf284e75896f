import { defineConfig } from 'vitest/config';

// Virtual machines take their time, and more so under emulation.
export default defineConfig({ test: { testTimeout: 300_000, hookTimeout: 60_000 } });

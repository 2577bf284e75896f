import { defineConfig } from 'vitest/config';

// Virtual machines are slow to boot, especially under emulation.
export default defineConfig({ test: { testTimeout: 300_000, hookTimeout: 60_000 } });

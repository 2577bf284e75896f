import preact from '@preact/preset-vite';
import { defineConfig } from 'vite';

/** Builds the page of `cowherd dashboard`. Its server adds what is only known at run time. */
export default defineConfig({
  root: 'src/dashboard/web',
  // The page is below a path that is secret.
  base: './',
  plugins: [preact()],
  build: {
    outDir: '../../../dist/dashboard/web',
    emptyOutDir: true,
    target: 'es2023',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
  },
  logLevel: 'warn',
});

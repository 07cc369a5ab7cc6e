import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import globals from 'globals';
import ts from 'typescript-eslint';

import dashboard from './dashboard/svelte.config.js';
import storefront from './storefront/svelte.config.js';

const PAGES = { dashboard, storefront };

export default ts.config(
  { ignores: ['**/dist/', '**/node_modules/', '**/schema.d.ts'] },
  js.configs.recommended,
  ts.configs.strict,
  ts.configs.stylistic,
  svelte.configs.recommended,
  svelte.configs.prettier,
  {
    languageOptions: { globals: globals.browser },
    rules: {
      // `== null` asks for null and undefined at once.
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
    },
  },
  ...Object.entries(PAGES).map(([folder, svelteConfig]) => ({
    files: [`${folder}/src/**/*.ts`, `${folder}/src/**/*.svelte`],
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: import.meta.dirname,
        extraFileExtensions: ['.svelte'],
        parser: ts.parser,
        svelteConfig,
      },
    },
  })),
  {
    files: ['client/{src,tests}/**/*.ts'],
    languageOptions: {
      parserOptions: {
        project: ['client/tsconfig.json', 'client/tsconfig.node.json'],
        tsconfigRootDir: import.meta.dirname,
        extraFileExtensions: ['.svelte'],
      },
    },
  },
  {
    files: ['{client,dashboard,storefront}/src/**/*.{ts,svelte}', 'client/tests/**/*.ts'],
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // The compiler knows better, of components too.
      'no-undef': 'off',
    },
  },
  {
    files: ['{dashboard,storefront}/src/**/*.svelte'],
    rules: {
      // The hub's Content-Security-Policy drops them. `style:width={…}` is set by script and is kept.
      'no-restricted-syntax': [
        'error',
        { selector: 'SvelteAttribute[key.name="style"]', message: 'Use a class or a style: directive.' },
      ],
      'svelte/no-target-blank': 'error',
    },
  },
);

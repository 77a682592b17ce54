// What the Node SDK's helpers make of an answer, as one line of JSON for each.
//
//     node helpers.mjs URL KEY MODEL  with the requests as JSON on standard input: {stream, parse, tools}
//
// The packages are found through FAREBOX_NODE, the folder they were installed in.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const load = createRequire(join(process.env.FAREBOX_NODE, 'package.json'));
const OpenAI = load('openai').default;
const { zodResponseFormat } = load('openai/helpers/zod');
const { z } = load('zod');

const [url, apiKey, model] = process.argv.slice(2);
const asked = JSON.parse(readFileSync(0, 'utf8'));
const chat = new OpenAI({ baseURL: url, apiKey, maxRetries: 0, timeout: 20_000 }).chat.completions;
const tell = (name, value) => console.log(JSON.stringify({ [name]: value }));

const streamed = chat.stream({ model, messages: asked.stream, stream_options: { include_usage: true } });
let deltas = '';
streamed.on('content', (delta) => (deltas += delta));
const whole = await streamed.finalChatCompletion();
tell('stream', { deltas, content: whole.choices[0].message.content, usage: whole.usage });

const Forecast = z.object({ city: z.string(), days: z.number().int() });
const format = zodResponseFormat(Forecast, 'forecast');
const parsed = await chat.parse({ model, messages: asked.parse, response_format: format });
tell('parse', parsed.choices[0].message.parsed);

const calls = [];
const runner = chat.runTools({
  model,
  messages: asked.tools,
  stream: true,
  tools: [
    {
      type: 'function',
      function: {
        name: 'get_weather',
        description: 'The weather in a city',
        parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
        parse: JSON.parse,
        function: (given) => {
          calls.push(given);
          return 'rain';
        },
      },
    },
  ],
});
tell('tools', { final: await runner.finalContent(), calls });

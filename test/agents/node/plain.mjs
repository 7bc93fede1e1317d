// Programs that know nothing of a proxy: node plain.mjs MODULES. It is to JavaScript what
// ../python/plain.py is to Python.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(process.argv[2] + '/')
const load = (name) => import(pathToFileURL(require.resolve(name)).href)
const prompt = 'Say how the ledger is.'
const [openaiModel, claudeModel] = ['gpt-5', 'claude-sonnet-4-5']

const programs = {
  async openai_node() {
    const { OpenAI } = await load('openai')
    return (await new OpenAI().responses.create({ model: openaiModel, input: prompt })).output_text
  },
  async anthropic_node() {
    const { Anthropic } = await load('@anthropic-ai/sdk')
    const answer = await new Anthropic().messages.create({ model: claudeModel, max_tokens: 1000, messages: [{ role: 'user', content: prompt }] })
    return answer.content[0].text
  },
  async openai_agents_node() {
    const { Agent, run } = await load('@openai/agents')
    return (await run(new Agent({ name: 'one', model: openaiModel }), prompt)).finalOutput
  },
  async vercel_openai() {
    const { generateText } = await load('ai')
    const { openai } = await load('@ai-sdk/openai')
    return (await generateText({ model: openai(openaiModel), prompt })).text
  },
  async vercel_anthropic() {
    const { generateText } = await load('ai')
    const { anthropic } = await load('@ai-sdk/anthropic')
    return (await generateText({ model: anthropic(claudeModel), prompt })).text
  },
}

for (const [name, program] of Object.entries(programs)) {
  console.log(name + ':', await program().catch((error) => String(error)))
}

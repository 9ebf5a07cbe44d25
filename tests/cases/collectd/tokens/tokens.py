"""Writes what it is configured with, and what its types are, to $DIR/out.txt."""
import collectd, os, sys
out=open(os.environ['DIR']+'/out.txt','w')
def p(*a):
    out.write(' '.join(str(x) for x in a)+'\n'); out.flush()
def t(label, f):
    try: r=f(); p('OK ',label,'->',ascii(r))
    except BaseException as e: p('EXC',label,'->',type(e).__name__+':',ascii(str(e)))
V=collectd.Values; N=collectd.Notification; C=collectd.Config; PD=V.__mro__[1]
def tree(c, d=0):
    p('  '*d, ascii(c.key), ascii(c.values), type(c.values).__name__, type(c.children).__name__, c.parent and c.parent.key)
    for k in c.children: tree(k,d+1)
collectd.register_config(tree)
class CB:
    def __call__(self,c,*a): p('CB',c.values,a); 
collectd.register_config(CB(),{'d':1},'named')
collectd.register_config(lambda c,*a:p('second',c.values,a),None,'Named')
collectd.register_config(tree,name='dotted.name')
collectd.register_config(lambda c:p('uni',ascii(c.values)),name='ünï')
def rd(i): V(type='gauge',plugin='p4',type_instance=str(i),host='h').dispatch(values=[1])
collectd.register_read(rd,0,'zero','r0'); collectd.register_read(rd,0.25,'q','rq'); collectd.register_read(rd,True,'b','rb')
t('big',lambda:collectd.register_read(rd,1e12,'big','rbig'))
t('inf',lambda:collectd.register_read(rd,float('inf'),'inf','rinf'))
t('name /',lambda:collectd.register_read(rd,0,'sl','a/b c'))
t('ds load',lambda:collectd.get_dataset('load'))
def ds(name):
    try: return collectd.get_dataset(name)
    except TypeError: return 'not found'
for x in ('own','two','comma','neg','tab','cr','low','dup','bad','empty','num','exp','badmin','five','trail','space','UP','nothere','hash#x','inf','nan','hexa','ws'):
    t('ds '+x[:20],lambda:ds(x))
t('ds bytes',lambda:collectd.get_dataset(b'two'))
t('ds case',lambda:ds('LOAD'))
t('ds sp',lambda:ds(' load'))

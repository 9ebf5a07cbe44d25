"""Calls the module with wrong and odd arguments and writes what it gave or raised to $DIR/out.txt."""
import collectd, os
out=open(os.environ['DIR']+'/out.txt','w')
def p(*a):
    out.write(' '.join(str(x) for x in a)+'\n'); out.flush()
def t(label, f):
    try: r=f(); p('OK ',label,'->',repr(r))
    except BaseException as e: p('EXC',label,'->',type(e).__name__+':',e)
def tree(c, d=0):
    p('  '*d, repr(c.key), c.values); [tree(k,d+1) for k in c.children]
collectd.register_config(lambda c: tree(c))
V=collectd.Values; N=collectd.Notification; C=collectd.Config; PD=V.__mro__[1]
t('V(type="")',lambda:V(type=''))
t('N(type="")',lambda:N(type=''))
t('PD(type=nope)',lambda:PD('nope'))
t('PD()',lambda:PD())
t('PD dict',lambda:[a for a in dir(PD) if not a.startswith('__')])
t('PD interval',lambda:PD().interval)
v=V(type='gauge',host='h')
t('disp kw',lambda:v.dispatch(foo=1))
t('disp kw bad host first',lambda:v.dispatch(foo=1,host=5))
t('disp many',lambda:v.dispatch(1,2,3,4,5,6,7,8,9,10))
t('disp many2',lambda:v.dispatch('gauge',[1],'3','4','5','6',7,8,{},destination=10))
t('disp dup',lambda:v.dispatch('gauge',type='gauge'))
t('disp values None',lambda:v.dispatch(values=None))
t('disp values set',lambda:v.dispatch(values={1}))
t('disp meta list',lambda:v.dispatch(values=[1],meta=[]))
t('disp meta+values wrong',lambda:v.dispatch(values=5,meta=5))
t('disp len',lambda:v.dispatch(type='load',values=[1],meta=5))
t('disp len2',lambda:v.dispatch(type='load',values=[1]))
t('disp nope',lambda:v.dispatch(type='nope',values=5))
t('disp none in',lambda:v.dispatch(values=[None]))
t('disp abc',lambda:v.dispatch(values=['abc']))
t('disp obj int',lambda:v.dispatch(type='derive',values=[None]))
t('disp abc int',lambda:v.dispatch(type='derive',values=['abc']))
t('disp 3.5str int',lambda:v.dispatch(type='derive',values=['3.5']))
t('disp nan int',lambda:v.dispatch(type='derive',values=[float('nan')]))
t('disp inf int',lambda:v.dispatch(type='counter',values=[float('inf')]))
t('disp neg counter',lambda:v.dispatch(type='counter',values=[-1]))
t('disp neg abs',lambda:v.dispatch(type='absolute',values=[-1]))
t('disp big counter',lambda:v.dispatch(type='counter',values=[2**64]))
t('disp big derive',lambda:v.dispatch(type='derive',values=[2**63]))
t('disp big neg derive',lambda:v.dispatch(type='derive',values=[-2**63-1]))
t('disp time str',lambda:v.dispatch(values=[1],time='5'))
t('disp interval none',lambda:v.dispatch(values=[1],interval=None))
t('disp type int',lambda:v.dispatch(5))
t('disp nul',lambda:v.dispatch(host='a\0b'))
t('disp surr',lambda:v.dispatch(host='\ud800'))
t('disp type bytes',lambda:v.dispatch(b'gauge',[1]))
t('disp bytearray',lambda:v.dispatch(bytearray(b'gauge'),[1]))
t('write none',lambda:v.write())
t('write nope',lambda:v.write('nope'))
t('write int',lambda:v.write(5))
t('write kw',lambda:v.write('nope',foo=1))
t('write interval float',lambda:v.write('nope',interval=1.5))
t('write values bad',lambda:v.write('nope',values=5))
t('write type empty',lambda:V().write('nope'))
t('write len',lambda:V(type='load').write('nope',values=[1]))
t('write many',lambda:v.write(1,2,3,4,5,6,7,8,9,10,11))
n=N(type='gauge',host='h')
t('N disp notype',lambda:N().dispatch())
t('N disp nope',lambda:n.dispatch(type='nope'))
t('N disp meta',lambda:n.dispatch(meta=5))
t('N disp sev',lambda:n.dispatch(severity=1.5))
t('N disp big sev',lambda:n.dispatch(severity=2**40))
t('N disp msg none',lambda:n.dispatch(message=None))
t('N disp kw',lambda:n.dispatch(interval=1))
t('N many',lambda:N(1,2,3,4,5,6,7,8,9,10))
t('del n.message',lambda:delattr(n,'message'))
t('del n.severity',lambda:delattr(n,'severity'))
def dd():
    w=V(); del w.values; del w.values
t('del values twice',dd)
def dv():
    w=V(type='gauge',host='h'); del w.values; w.dispatch()
t('del values dispatch',dv)
def dr():
    w=V(type='gauge',host='h'); del w.values; return repr(w)
t('del values repr',dr)
t('del foo',lambda:delattr(V(),'foo'))
t('del dispatch',lambda:delattr(V(),'dispatch'))
t('set dispatch',lambda:setattr(V(),'dispatch',1))
def sub():
    class S(V): pass
    s=S(type='gauge'); s.foo=1; return (s, s.foo, s.__dict__)
t('sub',sub)
def sub2():
    class S(V): __slots__=()
    s=S(type='gauge'); s.foo=1
t('sub2',sub2)
def sub3():
    class S(V): pass
    s=S(); return s.bar
t('sub3',sub3)
def sub4():
    class S(V):
        def __init__(self): pass
    s=S(); return (s.values, s.meta, s.host, repr(s))
t('sub4 no init',sub4)
def reinit():
    w=V(type='gauge',host='h',values=[1],time=5); w.__init__(plugin='x'); return w
t('reinit',reinit)
def cb(*a): pass
t('reg many',lambda:collectd.register_init(cb,1,'x',4))
t('reg kw',lambda:collectd.register_init(cb,foo=1))
t('reg read many',lambda:collectd.register_read(cb,1,2,'x',5))
t('reg name bytes',lambda:collectd.register_init(cb,name=b'\xff'))
t('reg name empty',lambda:collectd.register_init(cb,name=''))
t('reg name nul',lambda:collectd.register_init(cb,name='a\0b'))
t('reg read zero',lambda:collectd.register_read(cb,0,name='z'))
t('reg read None cb',lambda:collectd.register_read(None))
t('reg read kw cb',lambda:collectd.register_read(callback=cb,data=None,name='zz'))
class Q:
    def __call__(self): pass
q=Q(); q.__module__=5
t('reg module int',lambda:collectd.register_init(q).startswith('python.'))
q2=Q(); q2.__module__=None
t('reg module none',lambda:collectd.register_init(q2)[:9])
t('unreg noargs',lambda:collectd.unregister_init())
t('unreg two',lambda:collectd.unregister_init(1,2))
t('unreg nul',lambda:collectd.unregister_init('a\0'))
t('unreg bytearray',lambda:collectd.unregister_init(bytearray(b'x')))
t('unreg_config nope',lambda:collectd.unregister_config('nope'))
t('unreg_write nope',lambda:collectd.unregister_write('nope'))
t('unreg_flush nope',lambda:collectd.unregister_flush('nope'))
t('unreg_log nope',lambda:collectd.unregister_log('nope'))
t('unreg_notif nope',lambda:collectd.unregister_notification('nope'))
t('unreg_shutdown nope',lambda:collectd.unregister_shutdown('nope'))
t('flush kw',lambda:collectd.flush(foo=1))
t('flush none',lambda:collectd.flush(None))
t('flush float',lambda:collectd.flush('a',1.5))
t('flush many',lambda:collectd.flush('a',1,'b',4))
t('flush ident none',lambda:collectd.flush(identifier=None))
t('ds none',lambda:collectd.get_dataset())
t('ds two',lambda:collectd.get_dataset('a','b'))
t('ds nul',lambda:collectd.get_dataset('a\0'))
t('C many',lambda:C('a',None,1,2,3))
t('C kw',lambda:C('a',foo=1))
def cd():
    c=C('k'); del c.key; return c.key
t('C del',cd)
def cr():
    c=C('k'); del c.key; return repr(c)
t('C del repr',cr)
t('C key None',lambda:C(None))
t('C key bytearray',lambda:C(bytearray(b'x')))
t('C key set',lambda:setattr(C('k'),'key',5))
t('Signed str',lambda:collectd.Signed('5'))
t('Signed none',lambda:collectd.Signed())
t('CE',lambda:(collectd.CollectdError('a','b').args, repr(collectd.CollectdError('x'))))
t('hash C',lambda:C('k')==C('k'))
t('repr bytes host',lambda:V(type='gauge',host=b'\xff'))
t('repr quote',lambda:V(type='gauge',host="it's"))
t('repr nan',lambda:V(type='gauge',time=1e9+0.123456789,interval=-1))
t('repr meta none',lambda:V(meta=None))
t('repr values empty tuple',lambda:V(values=()))
t('repr values 0',lambda:V(values=0))
t('types',lambda:[type(getattr(V,a)).__name__ for a in ('host','time','values','meta','dispatch')])
t('doc',lambda:[collectd.info.__doc__ is None, V.dispatch.__doc__ is None, collectd.info.__name__, collectd.info.__module__])
t('setattr module',lambda:setattr(collectd,'foo',1))
t('time inf',lambda:V(time=float('inf')).time)
t('time Decimal',lambda:V(time=__import__('decimal').Decimal('1.5')).time)
t('time bool',lambda:V(time=True).time)
class F:
    def __float__(self): return 2.5
class I:
    def __index__(self): return 3
t('time float obj',lambda:V(time=F()).time)
t('time index obj',lambda:V(time=I()).time)
t('set time index obj',lambda:setattr(V(),'time',I()))
t('sev index',lambda:N(severity=I()).severity)
t('str subclass',lambda:V(host=type('S',(str,),{})('x')).host)
t('set bytearray',lambda:(setattr(v,'host',bytearray(b'ab')),v.host))
t('set surrogate esc',lambda:setattr(v,'host','a\udcff'))
t('N msg long multi',lambda:len(N(message='\u00e9'*200).message))
p('done')
